"""The page of `imclass runs`: a table of runs, their curves drawn over each other, and the settings that they share.

The page has no scripts. A run is highlighted by styles while the pointer is over its row or one of its curves.
"""
# Tested in tests/app/verbs/test_runs.py

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from imclass.app.draw.axis import zero_based_axis
from imclass.app.draw.curves import DOTS_LIMIT, Panel, Point, epochs_of, finite_pieces, points
from imclass.app.overview.differences import setting_text
from imclass.app.overview.summary import RUN_SPLITS, RunSummary
from imclass.app.report.figures import VIEW_BOX, axes, place
from imclass.app.report.markup import (
    Html,
    definition_list,
    document,
    element,
    html_table,
    join_html,
    name_element,
    read_style,
)
from imclass.app.text.runs import common_text, fact_cells, overview_notes, part_name, result_columns
from imclass.core.text import MAIN_MEASURES

COLOURS, DASHES = 8, 5  # in runs.css; run 9 has the colour of run 1, and another pattern of dashes
OUTLIER = 3.0  # a loss chart ends at this many times the median of the runs' highest losses
# For each quantity: the end of its key in a row of the history, its title and its scale.
QUANTITIES = (("error", "error (%)", 100.0), ("map", "mean average precision (%)", 100.0), ("loss", "loss", 1.0))
LEAD = "Point to a row or to a curve to highlight a run. Select the name of a run to keep it highlighted. "
SETTINGS = "The columns on the right are the settings in which the runs differ."
CAUTION = (
    "The best of many test results is optimistic, because it was chosen on the test images. Choose between runs by "
    "validation (--validation 0.1), and report the test result of the chosen run only."
)


def overview_page(runs: Sequence[RunSummary], differing: Mapping[str, str], shared: Mapping[str, Any]) -> Html:
    """Return the page as the content of an HTML file."""
    count = f"{len(runs):,} {'run' if len(runs) == 1 else 'runs'}"
    states = Counter(run.state for run in runs)
    counts = definition_list([(state.capitalize(), f"{n:,}") for state, n in states.items()])
    sections = (
        ("results", "Results", results_section(runs, differing)),
        ("curves", "Curves", curves_section(runs)),
        ("shared", "Settings of all runs" if len(runs) > 1 else "Settings", shared_section(shared)),
    )
    links = [element("a", heading, href=f"#{id_}") for id_, heading, content in sections if content]
    about = element("p", common_text(shared), class_="run")
    body = [element("header", about, element("h1", count), counts, element("nav", join_html(links, " ")))]
    body += [element("section", element("h2", head), inside, id=id_) for id_, head, inside in sections if inside]
    return document(count, *body, style=read_style("runs.css") + highlight_rules(len(runs)))


def highlight_rules(count: int) -> str:
    """Return style rules that mark the row and the curves of a run while it is pointed to or selected."""
    rules = []
    for run in (f".run-{number}" for number in range(1, count + 1)):
        when = f"main:has({run}:is(:hover, :target))"
        rules.append(f"{when} g:not({run}) {{ opacity: .3; }}")
        rules.append(f"{when} g{run} {{ opacity: 1 !important; stroke-width: 4; }}")  # also if two runs are marked
        rules.append(f"{when} tr{run} > * {{ background: var(--mark); }}")
    return "\n".join(rules)


def style_of(number: int) -> str:
    """Return the classes for the colour and the dashes of a run, counted from 1."""
    return f"c{(number - 1) % COLOURS} d{(number - 1) // COLOURS % DASHES}"


def results_section(runs: Sequence[RunSummary], differing: Mapping[str, str]) -> Html:
    """Return the table of runs, followed by notes."""
    columns = result_columns(runs, (*MAIN_MEASURES, "loss"))
    facts = [name[0].upper() + name[1:] for name in fact_cells(runs[0], columns)]
    head = element("tr", *(element("th", cell, scope="col") for cell in ["Run", *facts, *differing.values()]))
    rows = []
    for number, run in enumerate(runs, 1):
        rows.append(run_row(run, columns, differing, number))
        rows += [run_row(part, columns, differing) for part in run.parts]
    table = element("table", element("thead", head), element("tbody", *rows), class_="numbers")
    notes = [LEAD + (SETTINGS if differing else "")] if len(runs) > 1 else []
    notes += overview_notes(runs)
    if len(runs) > 1 and any("test" in run.results and "validation" not in run.results for run in runs):
        notes.append(CAUTION)
    return join_html(
        [element("div", table, class_="scroll", tabindex="0"), *(element("p", note, class_="small") for note in notes)]
    )


def run_row(run: RunSummary, columns: Sequence[tuple[str, str]], differing: Mapping[str, str], number: int = 0) -> Html:
    """Return the row of a run, with a link that highlights it, or that of a fold or a leg, which has no number."""
    state, *others = fact_cells(run, columns).values()
    cells = [element("td", state, class_=state.replace(" ", "-")), *(element("td", cell) for cell in others)]
    if not number:
        blank = [element("td") for _ in differing]
        return element("tr", element("th", part_name(run), scope="row"), *cells, *blank, class_="part")
    chip = element("svg", element("line", x1="0", x2="28", y1="5", y2="5", class_=style_of(number)), class_="chip")
    name = element("th", chip, element("a", name_element(str(run.folder)), href=f"#run-{number}"), scope="row")
    cells += [element("td", setting_text(key, run.settings.get(key))) for key in differing]
    return element("tr", name, *cells, class_=f"run-{number}", id=f"run-{number}")


def curves_section(runs: Sequence[RunSummary]) -> Html:
    """Return a chart for each quantity that some run has, with the curves of all runs."""
    pairs = [(split, *quantity) for split in (*RUN_SPLITS, "train") for quantity in QUANTITIES]
    charts = [chart for pair in pairs if (chart := overlay(runs, *pair))]
    if not charts:
        return Html()
    text = "Results on held-out images are those after each epoch, and a cross-validation has a curve for each fold. "
    text += "The training curves show means over parts of epochs, measured while the weights were still changing."
    return join_html([element("div", *charts, class_="pair"), element("p", text, class_="small")])


def overlay(runs: Sequence[RunSummary], split: str, quantity: str, title: str, scale: float) -> Html:
    """Return a chart with the curves of all runs, or empty markup if no run has the quantity."""
    curves = [(number, run, curves_of(run, f"{split}_{quantity}", scale)) for number, run in enumerate(runs, 1)]
    curves = [(number, run, lines) for number, run, lines in curves if any(lines)]
    if not curves:
        return Html()
    tops = [max(y for line in lines for _, y in line) for _, _, lines in curves]
    limit = OUTLIER * statistics.median(tops) if quantity == "loss" else max(tops)
    every = [one for _, run, _ in curves for one in (run, *run.parts)]
    epochs = epochs_of(
        sorted((row for run in every for row in run.history), key=lambda row: row["epoch"]),
        sorted((row for run in every for row in run.within_epochs), key=lambda row: row["epoch"]),
    )
    shown = Panel(f"{split} {title}", epochs, zero_based_axis(min(max(tops), limit)), ())
    drawn = (curve_group(shown, number, run, lines) for number, run, lines in curves)
    label = f"{shown.title} of {len(curves)} runs over epochs"
    image = element("svg", axes(shown), *drawn, viewBox=VIEW_BOX, role="img", aria_label=label)
    above = sum(top > shown.values.high for top in tops)
    note = f"Values of {above} of {len(tops)} runs above the chart are drawn at its upper edge." if above else ""
    return element("figure", image, *([element("figcaption", note)] if note else []))


def curves_of(run: RunSummary, key: str, scale: float) -> list[list[Point]]:
    """Return the finite pieces of a run's curve for one key of its rows. A cross-validation has those of its folds."""
    members = run.parts if run.kind == "cross-validation" else (run,)
    return [
        piece
        for member in members
        for piece in finite_pieces(points(member.within_epochs, key, scale) or points(member.history, key, scale))
    ]


def curve_group(shown: Panel, number: int, run: RunSummary, lines: Sequence[Sequence[Point]]) -> Html:
    """Return the curves of a run, with its name as their tooltip. Short curves have dots."""
    top = shown.values.high
    placed = [[place(shown, x, min(y, top)) for x, y in line] for line in lines]
    drawn = [element("polyline", points=" ".join(map(",".join, line))) for line in placed if len(line) > 1]
    dots = [dot for line in placed if len(line) == 1 or len(line) <= DOTS_LIMIT // 4 for dot in line]
    circles = [element("circle", cx=x, cy=y, r="2.2") for x, y in dots]
    return element("g", element("title", str(run.folder)), *drawn, *circles, class_=f"run-{number} {style_of(number)}")


def shared_section(shared: Mapping[str, Any]) -> Html:
    """Return a table of the settings that all runs share."""
    rows = [
        (element("code", name), element("code", setting_text(name.replace("-", "_"), value)))
        for name, value in shared.items()
    ]
    return html_table(("Option", "Value"), rows, "options") if rows else Html()
