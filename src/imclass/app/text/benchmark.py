"""A benchmark as text for a terminal, and as a page of Markdown."""
# Tested in tests/app/verbs/test_benchmark.py

import html
from collections.abc import Sequence

from imclass.app.benchmark.standings import Standing
from imclass.app.text.columns import text_table
from imclass.app.text.comparison import p_value
from imclass.core.text import duration_text, measure_title, percent, printable_text, size_text

HEAD = "<!-- Written by `imclass benchmark`, which replaces this file. -->"
LOGGED = "*"  # marks a time that comes from a run's log


def cells_of(one: Standing) -> dict[str, str]:
    """Return the cells of an entry's row, keyed by the header of their column."""
    low_high = "-" if one.interval is None else f"{100 * one.interval[0]:.1f} to {100 * one.interval[1]:.1f}"
    return {
        "entry": printable_text(one.name),
        measure_title(one.measure): percent(one.value),
        "95% interval": low_high,
        "training": time_text(one),
        "parameters": f"{one.parameters:,}",
        "model": size_text(one.model_bytes),
        "minus best": difference_text(one),
        "p": "-" if one.best is None else p_value(one.best.p_value).removeprefix("p = ").removeprefix("p "),
        "what": printable_text(one.what),
    }


def time_text(one: Standing) -> str:
    """Return the training time, with a mark if it comes from the run's log. Without a time, return "-"."""
    return (duration_text(one.training) + ("" if one.is_timed else LOGGED)) if one.training else "-"


def difference_text(one: Standing) -> str:
    """Return the difference from the best in points with its interval, or "-" for the best and for several labels."""
    if one.best is None:
        return "-"
    difference, low, high = (100 * share + 0.0 for share in (one.best.difference, *one.best.interval))
    return f"{difference:+.2f} ({low:+.1f} to {high:+.1f})"


def standings_notes(standings: Sequence[Standing]) -> list[str]:
    """Return sentences that explain the columns of the table."""
    counts = {one.images for one in standings}
    images = f"{counts.pop():,}" if len(counts) == 1 else f"{min(counts):,} to {max(counts):,}"
    notes = [f"{images} images: {standings[0].row.facts.scope}."]
    if standings[0].interval is not None:
        notes.append("Intervals of accuracies are Wilson's.")
    if any(one.best for one in standings):
        notes.append(
            "The difference from the best is in points, with a bootstrap interval over paired images; p is that of "
            "McNemar's exact test. They apply to these models and images, not to other runs of the recipes."
        )
    notes.append("Training times are without evaluation.")
    if any(one.sessions > 1 for one in standings):
        several = ", ".join(one.name for one in standings if one.sessions > 1)
        notes.append(f"They include all sessions of runs that were interrupted ({several}).")
    if not all(one.is_timed for one in standings):
        notes.append(f"{LOGGED} From the log of a run that was not trained here; it may lack what the store had.")
    return notes


def standings_text(standings: Sequence[Standing], width: int | None = None) -> str:
    """Return the table with notes as text."""
    table = text_table([cells_of(one) for one in standings], width)
    return "\n".join([table, *map(printable_text, standings_notes(standings))])


def standings_markdown(standings: Sequence[Standing], command: str, picture: str) -> str:
    """Return the table with notes, the command, the machines and the versions as Markdown."""
    rows = [cells_of(one) for one in standings]
    head = [*rows[0]]
    numeric = {"entry": "---", "what": "---"}
    lines = [head, [numeric.get(name, "---:") for name in head], *([*row.values()] for row in rows)]
    table = "\n".join("| " + " | ".join(map(markdown_cell, line)) + " |" for line in lines)
    machines = dict.fromkeys(machine for one in standings for machine in one.machines)
    notes = " ".join(standings_notes(standings))
    title = measure_title(standings[0].measure)
    facts = "".join(f"Measured on: {printable_text(machine)}.\n" for machine in machines)
    parts = [
        HEAD,
        table,
        html.escape(printable_text(notes), quote=False),
        f"    {command}",
        f"{facts}\n![{title} and training time]({picture})",
    ]
    return "\n\n".join(parts) + "\n"


def markdown_cell(text: str) -> str:
    """Return a text for a cell of a table in Markdown."""
    return html.escape(text, quote=False).replace("|", "\\|").replace("*", "\\*")
