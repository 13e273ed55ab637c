"""A table of runs as text for a terminal, as Markdown and as CSV."""
# Tested in tests/app/verbs/test_runs.py

import csv
import html
import io
from collections.abc import Iterator, Mapping, Sequence

from imclass.app.overview.differences import setting_text
from imclass.app.overview.summary import DEVIATION, RUN_SPLITS, RunSummary
from imclass.app.text.columns import text_table
from imclass.core.text import MAIN_MEASURES, duration_text, escape_formula, measure_title, percent, printable_text

SUMMARY = ("recipe", "data", "model.network")  # settings that are printed if all runs share them
UNITS = {"cross-validation": "folds", "repeated splits": "splits"}  # of the progress; otherwise epochs
UNFINISHED = ("training", "stopped")
UNFINISHED_NOTE = "The results of a run that is not finished are those of its last evaluation."
RESUME_NOTE = "To resume a stopped run, repeat the command that began it."


def with_parts(runs: Sequence[RunSummary]) -> Iterator[RunSummary]:
    """Yield each run, followed by the runs of a series or its legs."""
    for run in runs:
        yield run
        yield from run.parts


def result_columns(runs: Sequence[RunSummary], measures: Sequence[str]) -> list[tuple[str, str]]:
    """Return a split and a measure for each column with results: all pairs that some run has."""
    every = list(with_parts(runs))
    pairs = [(split, measure) for split in RUN_SPLITS for measure in measures]
    return [(split, measure) for split, measure in pairs if any(measure in run.results.get(split, {}) for run in every)]


def result_text(run: RunSummary, split: str, measure: str) -> str:
    """Return a result, such as "96.05%" or, of a series, "96.05% (sd 0.31)". If there is none, return "-"."""
    found = run.results.get(split, {})
    if measure not in found:
        return "-"
    if measure == "loss":
        return f"{found[measure]:.4f}"
    spread = found.get(f"{measure}_{DEVIATION}")
    return percent(found[measure]) + (f" (sd {100 * spread:.2f})" if spread is not None else "")


def progress_text(run: RunSummary) -> str:
    """Return the finished and the planned number of epochs, folds or splits, or "-" if no log records them."""
    if run.state == "broken" or (run.state == "finished" and not run.done):
        return "-"
    return f"{run.done}/{run.total} {UNITS.get(run.kind, 'epochs')}"


def time_text(run: RunSummary) -> str:
    """Return the training time, or "-" if no log records it."""
    return duration_text(run.seconds) if run.seconds else "-"


def part_name(run: RunSummary) -> str:
    """Return the name of a fold, split or leg below its run, such as "fold 2"."""
    return f"{run.kind} {run.folder.name}"


def fact_cells(run: RunSummary, columns: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the cells that describe a run, without its name and its settings, keyed by the header of their column."""
    results = {f"{split} {measure_title(measure)}": result_text(run, split, measure) for split, measure in columns}
    return {"state": run.state, "progress": progress_text(run), **results, "time": time_text(run)}


def settings_text(run: RunSummary, names: Mapping[str, str], keys: Sequence[str]) -> str:
    """Return the values of some settings, without those that are absent or empty: "epochs 5, batch 64"."""
    values = ((names[key], setting_text(key, run.settings.get(key))) for key in keys)
    return ", ".join(f"{name} {value}" for name, value in values if value != "-")


def overview_text(
    runs: Sequence[RunSummary], settings: Sequence[str], shared: Mapping[str, object], width: int | None = None
) -> str:
    """Return a table whose last column has the settings of each run, followed by notes."""
    rows, columns = [], result_columns(runs, MAIN_MEASURES)
    for run, text in zip(runs, settings, strict=True):
        rows.append({"run": str(run.folder), **fact_cells(run, columns), "settings": text})
        rows += [{"run": f"  {part_name(p)}", **fact_cells(p, columns), "settings": ""} for p in run.parts]
    if not any(settings):
        rows = [{name: cell for name, cell in row.items() if name != "settings"} for row in rows]
    common = common_text(shared)
    notes = [f"all: {common}" if len(runs) > 1 else common] if common else []
    return "\n".join([text_table(rows, width), *map(printable_text, [*notes, *overview_notes(runs)])])


def common_text(shared: Mapping[str, object]) -> str:
    """Return the recipe, data and network that all runs share, or "" if they share none of them."""
    return ", ".join(f"{name} {shared[name]}" for name in SUMMARY if name in shared)


def overview_notes(runs: Sequence[RunSummary]) -> list[str]:
    """Return the problems of runs, and notes on runs that are not finished."""
    every = list(with_parts(runs))
    notes = [f"{run.folder}: {run.problem}" for run in every if run.problem]
    notes += [UNFINISHED_NOTE] if any(run.state in UNFINISHED and run.results for run in every) else []
    return notes + ([RESUME_NOTE] if any(run.state == "stopped" for run in runs) else [])


def runs_as_markdown(runs: Sequence[RunSummary], differing: Mapping[str, str]) -> str:
    """Return a table in GitHub's Markdown, with a column for each setting that differs."""
    columns = result_columns(runs, MAIN_MEASURES)
    head = ["run", *fact_cells(runs[0], columns), *differing.values()]
    rows = [
        [
            str(run.folder),
            *fact_cells(run, columns).values(),
            *(setting_text(key, run.settings.get(key)) for key in differing),
        ]
        for run in with_parts(runs)
    ]
    body = [[html.escape(printable_text(cell), quote=False).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])


def runs_as_csv(runs: Sequence[RunSummary], differing: Mapping[str, str]) -> str:
    """Return a table as CSV with all measures, and with a column for each setting that differs.

    A text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    every = list(with_parts(runs))
    pairs = {(split, measure): None for split in RUN_SPLITS for run in every for measure in run.results.get(split, {})}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    head = ["run", "kind", "state", "done", "total", "seconds", *(f"{split} {measure}" for split, measure in pairs)]
    writer.writerow([*head, *map(escape_formula, differing.values()), "problem"])
    for run in every:
        results = [run.results.get(split, {}).get(measure, "") for split, measure in pairs]
        values = (setting_text(key, run.settings.get(key)) for key in differing)
        settings = [escape_formula("" if value == "-" else value) for value in values]
        facts = [escape_formula(str(run.folder)), run.kind, run.state, run.done, run.total, round(run.seconds, 3)]
        writer.writerow([*facts, *results, *settings, escape_formula(run.problem)])
    return text.getvalue().encode("utf-8", "backslashreplace").decode()
