"""The papers' result tables as text, Markdown or CSV, with imclass's measurements next to the published numbers."""

import csv
import html
import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from imclass.core.contracts import Evaluation, NetworkBacked, ViewProtocol
from imclass.core.errors import UserError
from imclass.core.model_file import Provenance
from imclass.core.preprocess import Preprocess
from imclass.core.text import escape_formula, pad_text, printable_text, suggestion, text_width
from imclass.evaluation.measures.intervals import wilson_interval
from imclass.evaluation.papers import resnet, vgg
from imclass.evaluation.papers.table import (
    Net,
    PaperRow,
    PaperTable,
    RowSubject,
    format_test_scales,
    format_train_scales,
)
from imclass.models.classifier import networks
from imclass.models.entry import native_size
from imclass.models.views.scales import training_scale

TABLES: dict[str, tuple[PaperTable, ...]] = {
    "3": (vgg.SINGLE_SCALE,),
    "4": (vgg.MULTI_SCALE,),
    "5": (vgg.METHOD,),
    "6": (vgg.FUSION,),
    "7": (vgg.STATE_OF_THE_ART,),
    "resnet": (resnet.SINGLE_MODELS, resnet.ENSEMBLES, resnet.CIFAR_RESULTS),
}
NOT_RUN = "not run"
CELL_WIDTH = 41  # the width of a cell in text, so that a line with three published numbers has at most 100 characters
DATA_WIDTH = 16  # the width of the last cell, which names the data

Format: TypeAlias = Literal["text", "markdown", "csv"]


@dataclass(frozen=True)
class ErrorInterval:
    """An error in percent, with the ends of its 95% Wilson interval."""

    error: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.error:.2f}% ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Measurement:
    """The errors that imclass measured for a model or a fusion."""

    tested: RowSubject
    data: str  # data set and split
    evaluated: int
    total: int
    top1: ErrorInterval
    top5: ErrorInterval | None  # None for five classes or fewer


def measurement_of(evaluation: Evaluation, tested: RowSubject, data: str) -> Measurement:
    """Return the errors of an evaluation. `data` names the data set and split, such as "cifar10 test"."""
    n = len(evaluation.targets)

    def error_interval(accuracy: float) -> ErrorInterval:
        low, high = wilson_interval(n - round(accuracy * n), n)
        return ErrorInterval(100 - 100 * accuracy, 100 * low, 100 * high)

    top5 = error_interval(evaluation.measures["top5"]) if len(evaluation.classes) > 5 else None
    return Measurement(tested, data, n, evaluation.total, error_interval(evaluation.measures["top1"]), top5)


def net_of(classifier: NetworkBacked, protocol: ViewProtocol | None) -> Net:
    """Describe a network for a paper's table. S comes from its training, and Q from the protocol."""
    tested = protocol.scales_for(classifier.preprocess) if protocol else ()
    return describe_net(classifier.name, classifier.preprocess, classifier.trained, tested)


def describe_net(network: str, preprocess: Preprocess, trained: Provenance | None, tested: tuple[int, ...] = ()) -> Net:
    """Describe a network for a paper's table. `tested` contains Q. If it is empty, Q is the scale of `preprocess`.

    If the training did not record S, the scale of `preprocess` is used for S, too.
    """
    scale = (training_scale(preprocess),)
    entry = networks().entries.get(network)
    native = native_size(entry.row, network) if entry else preprocess.size  # a plugin's network is in no paper's table
    return Net(network, (trained.scales if trained else ()) or scale, tested or scale, preprocess.size, native)


@dataclass(frozen=True)
class TableLine:
    """A line of a table."""

    cells: tuple[str, ...]  # the texts that identify the line
    numbers: tuple[str, ...]  # published
    measured: Measurement | None


def render_table(name: str, measured: Sequence[Measurement], form: Format = "text") -> str:
    """Return table `name` ("3" to "7", or "resnet") with all published rows and all measurements.

    A measurement is shown on the line of the published row with the same networks, protocol, S and Q. A measurement
    with another S or Q has a separate line below that row. A measurement that matches no row has a line at the end.
    Raise `UserError` for an unknown name.
    """
    if name not in TABLES:
        raise UserError(f"--table {name} is unknown{suggestion(name, TABLES)}")
    forms: dict[str, Callable[[PaperTable, Sequence[TableLine]], str]] = {
        "text": as_text,
        "markdown": as_markdown,
        "csv": as_csv,
    }
    tables = TABLES[name]
    homes = [find_table(tables, one) for one in measured]
    parts = [
        forms[form](table, make_lines(table, [one for one, home in zip(measured, homes, strict=True) if home is table]))
        for table in tables
    ]
    return ("\n" if form == "csv" else "\n\n").join(parts)


def is_exact_match(published: RowSubject, tested: RowSubject) -> bool:
    """Return whether the networks, protocol, S and Q match a published row. A row without S or Q matches any value."""
    pairs = zip(sorted_nets(published), sorted_nets(tested), strict=False)
    return is_close_match(published, tested) and all(ours.is_like(theirs) for theirs, ours in pairs)


def is_close_match(published: RowSubject, tested: RowSubject) -> bool:
    """Return whether the networks and the protocol match a published row."""
    ours = [net.network for net in sorted_nets(tested)]
    return bool(ours) and published.protocol == tested.protocol and ours == [n.network for n in sorted_nets(published)]


def sorted_nets(tested: RowSubject) -> list[Net]:
    """Return the networks in sorted order, so that two fusions can be compared."""
    return sorted(tested.nets, key=lambda net: (net.network, net.train, net.test))


def find_table(tables: Sequence[PaperTable], measured: Measurement) -> PaperTable:
    """Return the first table that has a row for the networks and protocol of a measurement.

    If there is none, return the first table with any of the networks, or else the first table.
    """
    networks = {net.network for net in measured.tested.nets}
    knows: tuple[Callable[[PaperRow], bool], ...] = (
        lambda row: is_close_match(row.tested, measured.tested),
        lambda row: bool(networks & {net.network for net in row.tested.nets}),
    )
    found = (table for known in knows for table in tables if any(map(known, table.rows)))
    return next(found, tables[0])


def make_lines(table: PaperTable, measured: Sequence[Measurement]) -> list[TableLine]:
    """Return the lines of a table. Close matches follow their published row; measurements without a match are last."""
    homes = [find_row(table, one.tested) for one in measured]
    of_row = {i: [one for one, home in zip(measured, homes, strict=True) if home == i] for i in {*homes, None}}
    found = []
    for i, row in enumerate(table.rows):
        here = of_row.get(i, [])
        exact = next((one for one in here if is_exact_match(row.tested, one.tested)), None)
        found.append(TableLine((row.label,) if row.label else table.cells(row.tested), row.numbers, exact))
        found += [unmatched_line(table, one) for one in here if one is not exact]
    return found + [unmatched_line(table, one) for one in of_row[None]]


def find_row(table: PaperTable, tested: RowSubject) -> int | None:
    """Return the position of the row that matches exactly, or else of the last close match, or else None."""
    exact = [i for i, row in enumerate(table.rows) if is_exact_match(row.tested, tested)]
    close = [i for i, row in enumerate(table.rows) if is_close_match(row.tested, tested)]
    return exact[0] if exact else close[-1] if close else None


def unmatched_line(table: PaperTable, measured: Measurement) -> TableLine:
    """Return a separate line for a measurement that matches no published row exactly."""
    cells = tuple(printable_text(cell) for cell in table.cells(measured.tested))
    return TableLine(cells, ("",) * len(table.numbers), measured)


def column_headers(table: PaperTable) -> list[str]:
    """Return the headers of all columns, for text and Markdown."""
    return [*table.headers, *table.numbers, "measured top-1", "measured top-5", "measured on"]


def line_cells(line: TableLine, mark: str) -> list[str]:
    """Return the cells of a line; `mark` is the reference to the line's note."""
    numbers = [number or "-" for number in line.numbers]
    if line.measured is None:
        return [*line.cells, *numbers, NOT_RUN, NOT_RUN, ""]
    shares = [f"{share.error:.2f}" if share else "-" for share in (line.measured.top1, line.measured.top5)]
    return [*line.cells, *numbers, *shares, f"{printable_text(line.measured.data)} {mark}"]


def cells_and_notes(table_lines: Sequence[TableLine]) -> tuple[list[list[str]], list[str]]:
    """Return the cells of all lines, and a note for each measurement: "[1] D on cifar10 test: ..."."""
    rows: list[list[str]] = []
    notes: list[str] = []
    for line in table_lines:
        mark = f"[{len(notes) + 1}]"
        rows.append(line_cells(line, mark))
        if line.measured is not None:
            notes.append(f"{mark} {measurement_note(line.measured)}")
    return rows, notes


def measurement_note(measured: Measurement) -> str:
    """Return a note with all details of a measurement. They do not fit in a line of the table."""
    sides = " + ".join(map(format_sides, measured.tested.nets))
    name = measured.tested.name or " + ".join(net.network for net in measured.tested.nets)
    top5 = f"top-5 error {measured.top5}" if measured.top5 else "top-5 error 0 by definition: five classes or fewer"
    return printable_text(
        f"{name} on {measured.data}: {', '.join(filter(None, [measured.tested.method, sides]))}; "
        f"top-1 error {measured.top1}, {top5}; {measured.evaluated:,} of {measured.total:,} images"
    )


def format_sides(net: Net) -> str:
    """Return S and Q, and the size of the network's input if it differs from the paper's."""
    sides = f"S {format_train_scales(net)}, Q {format_test_scales(net)}"
    return sides if net.size == net.native else f"{sides} at {net.size} pixels instead of {net.native}"


def footnotes(table: PaperTable, notes: Sequence[str]) -> list[str]:
    """Return the lines below a table: notes on measurements, explanations of the numbers, and the source."""
    found = [*notes]
    if notes:
        found.append("95% Wilson intervals are in parentheses.")
    if "top-5 test" in table.numbers:
        found.append("The labels of ILSVRC's test set are not public, so top-5 test is not measured here.")
    return [*found, f"Published errors in %: {table.source}."]


def as_text(table: PaperTable, table_lines: Sequence[TableLine]) -> str:
    """Return a table as aligned columns. Long cells and the headers of number columns are wrapped."""
    rows, notes = cells_and_notes(table_lines)
    texts = len(table.headers)
    tops = [[head] if i < texts else head.split(" ") for i, head in enumerate(column_headers(table))]
    cells = [
        [textwrap.wrap(cell, CELL_WIDTH) for cell in row[:-1]] + [textwrap.wrap(row[-1], DATA_WIDTH)] for row in rows
    ]
    wide = [max(text_width(text) for row in [tops, *cells] for text in row[i]) for i in range(len(tops))]
    left = {*range(texts), len(wide) - 1}
    found = [table.title]
    for row in [tops, *cells]:
        for depth in range(max(map(len, row))):
            parts = [cell[depth] if depth < len(cell) else "" for cell in row]
            aligned = (
                pad_text(part, width) if i in left else part.rjust(width)
                for i, (part, width) in enumerate(zip(parts, wide, strict=True))
            )
            found.append("  ".join(aligned).rstrip())
    below = [line for note in footnotes(table, notes) for line in textwrap.wrap(note, 100)]
    return "\n".join([*found, *below])


def as_markdown(table: PaperTable, table_lines: Sequence[TableLine]) -> str:
    """Return a table in GitHub's Markdown, escaped so that no name can break out of its cell."""
    rows, notes = cells_and_notes(table_lines)
    rule = ["---"] * len(table.headers) + ["--:"] * (len(table.numbers) + 2) + ["---"]
    body = [[html.escape(cell, quote=False).replace("|", "\\|") for cell in row] for row in rows]
    grid = ["| " + " | ".join(row) + " |" for row in [column_headers(table), rule, *body]]
    below = [f"- {html.escape(note, quote=False)}" for note in footnotes(table, notes)]
    return "\n".join([f"**{table.title}**", "", *grid, "", *below])


def as_csv(table: PaperTable, table_lines: Sequence[TableLine]) -> str:
    """Return a table as CSV, with names escaped so that a spreadsheet does not evaluate them as formulas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    shares = [f"measured {name}{end}" for name in ("top-1", "top-5") for end in ("", " low", " high")]
    facts = ("measured on", "measured as", "protocol", "evaluated", "total")
    writer.writerow([*table.headers, *(f"published {number}" for number in table.numbers), *shares, *facts])
    for line in table_lines:
        numbers = [float(number) if number else "" for number in line.numbers]
        writer.writerow([*map(escape_formula, line.cells), *numbers, *csv_values(line.measured)])
    return text.getvalue()


def csv_values(measured: Measurement | None) -> list[str | float | int]:
    """Return the measurement cells of a CSV line."""
    if measured is None:
        return [NOT_RUN, "", "", NOT_RUN, "", "", "", "", "", "", ""]
    top1, top5 = measured.top1, measured.top5
    shares: list[str | float | int] = [round(value, 4) for value in (top1.error, top1.low, top1.high)]
    shares += [round(value, 4) for value in (top5.error, top5.low, top5.high)] if top5 else ["", "", ""]
    names = [escape_formula(text) for text in (measured.data, measured.tested.name, measured.tested.protocol)]
    return [*shares, *names, measured.evaluated, measured.total]
