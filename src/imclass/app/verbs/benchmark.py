"""The verb `benchmark`: train several recipes on the same data, and compare accuracies and training times."""

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from imclass.app.acts.fit import run_fit
from imclass.app.acts.outcome import add_report, outcome_parts
from imclass.app.benchmark.entries import Entry, Settings, check_entries, make_entries
from imclass.app.benchmark.standings import Standing, draw_standings, make_standings
from imclass.app.benchmark.times import Ledger, read_ledger
from imclass.app.cli.answer import Answer, print_line, print_notes
from imclass.app.cli.arguments import DONE, SOME_REFUSED, BenchmarkArguments, TrainArguments
from imclass.app.cli.book import progress_consumer
from imclass.app.cli.checks import context_of
from imclass.app.cli.fit_progress import FitProgressBar
from imclass.app.cli.lists import terminal_width
from imclass.app.cli.options import read_train
from imclass.app.cli.streams import interject
from imclass.app.cli.words import option_hints, scan
from imclass.app.fits.prepare import prepare_fit
from imclass.app.runs.directory import Run
from imclass.app.runs.train import prepare
from imclass.app.settings.configure import recipes
from imclass.app.text.benchmark import standings_markdown, standings_text
from imclass.app.verbs.train import run_job
from imclass.core.config import Fitting
from imclass.core.errors import UserError
from imclass.core.files import write_file
from imclass.core.override import option_of
from imclass.core.text import list_names
from imclass.store.context import Context

TABLE, PICTURE = "benchmark.md", "benchmark.png"


def run(arguments: BenchmarkArguments) -> Answer:
    """Check all entries, train those that are not finished, and return the standings."""
    context, out = context_of(arguments.common), arguments.out
    if (out / "config.json").is_file():
        raise UserError(f"--out {out} is a run; choose another folder. To include the run, pass its folder as an ENTRY")
    ledger = read_ledger(out)
    data = None if arguments.data is None else str(arguments.data)

    def read(name: str, words: Sequence[str]) -> Settings:
        return read_settings(words, data, context, ledger.scratch(name))

    entries = make_entries(arguments.entries, out, recipes(context).entries, read)
    print_notes(check_entries(entries))
    others = sorted(ledger.times.keys() - {entry.name for entry in entries})
    print_notes([f"{out} also has {list_names(others)}, not in this table"] if others else [])
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written to: {error.strerror}; choose another --out") from None
    with Run(out).hold_lock():
        for number, entry in enumerate(entries, 1):
            state = " is finished" if entry.run.is_finished else ""
            print_line(f"{number} of {len(entries)}: {entry.name}{state}")
            train_entry(entry, ledger)
    standings = make_standings(entries, ledger, context)
    refused = any(outcome_parts(entry.run, context)[2] for entry in entries)
    record = {"out": str(out), "standings": [one.record() for one in standings]}
    words = [*arguments.entries, *(["--data", data] if data is not None else []), "--out", str(out)]
    finish = partial(write_files, standings, out, shlex.join(["imclass", "benchmark", *words]))
    text = standings_text(standings, terminal_width())
    return Answer(record, text, SOME_REFUSED if refused else DONE, last=finish)


def read_settings(words: Sequence[str], data: str | None, context: Context, scratch: Path) -> Settings:
    """Return the settings that follow from the words of an entry. It is trained on `data`, unless that is None.

    What it computes from images is kept in the folder `scratch`. Raise `UserError` for an option of the benchmark.
    """
    for key, _ in scan(words)[1]:
        if key in option_hints(TrainArguments):
            raise UserError(f"an entry cannot have the option {option_of(key)}; only options of its recipe are allowed")
        if key == "data":
            raise UserError("an entry cannot have the option --data; give it once, after all entries")
    request = read_train([*words, *(["--data", data] if data is not None else [])], context)
    context = replace(context, store=replace(context.store, scratch=scratch))
    return Settings(request.config, request.execution, context, request.given)


def train_entry(entry: Entry, ledger: Ledger) -> None:
    """Train an entry to the end, unless it is finished. Show its progress, measure its time, and write its report."""
    how, run = entry.settings, entry.run
    if how is None:
        return
    if not run.is_finished:
        stopwatch = ledger.begin(entry.name, run, how.config)
        with contextlib.closing(stopwatch):
            if isinstance(how.config, Fitting):
                fit = prepare_fit(how.config, run, how.context, how.execution, given=how.given)
                run_fit(fit, FitProgressBar, print_line, interject, [stopwatch])
            else:
                job = prepare(how.config, run, how.context, how.execution, given=how.given)
                run_job(job, partial(progress_consumer, "bar", None), [stopwatch])
    ledger.clean(entry.name)
    add_report(run, how.context)


def write_files(standings: Sequence[Standing], out: Path, command: str) -> None:
    """Write the table as Markdown, and the picture."""
    write_file(out / TABLE, standings_markdown(standings, command, PICTURE))
    draw_standings(standings, out / PICTURE)
    print_line(f"wrote {out / TABLE} and {out / PICTURE}")
