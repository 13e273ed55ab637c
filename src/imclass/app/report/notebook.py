"""Results in a notebook: a table of rows and, for a single row, its classes and confusion matrix."""
# Tested in tests/app/evaluation/test_result.py

import base64
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from imclass.app.draw.confusion import confusion_png
from imclass.app.report.markup import Html, element, html_table, join_html, name_element
from imclass.app.text import evaluation as tables
from imclass.app.text.labels import label_measures
from imclass.core.contracts import Evaluation
from imclass.core.targets import OneOf
from imclass.core.text import measure_title, percent
from imclass.evaluation.measures.single_label import class_rows
from imclass.evaluation.results import ResultRow

if TYPE_CHECKING:
    from imclass.app.evaluation.result import Result

MAX_CLASS_ROWS = 100  # classes listed in a table


def notebook_html(result: "Result") -> Html:
    """Return a table of the rows.

    A single row is followed by its classes and, if each image has one label, by its confusion matrix.
    """
    if not result.rows:
        return element("p", "This process has no results; they are in the first process.")
    last = result.evaluation
    interval = ("95% confidence interval",) if last.main == "top1" else ()
    head = ("Model", measure_title(last.main), *interval, "Loss", "Evaluated")
    parts = [element("p", result.rows[-1].facts.scope), html_table(head, list(map(short_row, result.rows)))]
    if len(result.rows) == 1:
        parts.append(class_table(last))
        parts += [confusion_picture(last)] if isinstance(last.targets, OneOf) else []
    return element("div", *parts)


def short_row(row: ResultRow) -> tuple[str, ...]:
    """Return a row's cells: name, main measure, Wilson interval (only for an accuracy), loss and image counts."""
    one = row.evaluation
    share, loss = one.measures[one.main], f"{one.measures['loss']:.4f}"
    low, high = tables.share_interval(one, share)
    interval = (f"{100 * low:.2f}% to {100 * high:.2f}%",) if one.main == "top1" else ()
    return (name_element(row.name, 60), percent(share), *interval, loss, one.tally)


def class_table(evaluation: Evaluation) -> Html:
    """Return a table of the classes and their measures. The class with the lowest F1 comes first."""
    is_multi_label = not isinstance(evaluation.targets, OneOf)
    head = ("Class", "Images", *(["AP"] if is_multi_label else []), "Precision", "Recall", "F1")
    rows: list[tuple[str, int, tuple[float, ...]]] = []
    if is_multi_label:
        found = zip(evaluation.classes, label_measures(evaluation), strict=True)
        rows += [(label, row.positives, (row.ap, row.precision, row.recall, row.f1)) for label, row in found]
    else:
        counts = zip(evaluation.classes, class_rows(tables.confusion_matrix(evaluation)), strict=True)
        rows += [(label, row.support, (row.precision, row.recall, row.f1)) for label, row in counts]
    rows.sort(key=lambda row: math.inf if math.isnan(row[2][-1]) else row[2][-1])
    lines = [
        (name_element(label), f"{images:,}", *map(percent, shares)) for label, images, shares in rows[:MAX_CLASS_ROWS]
    ]
    more = element("p", f"and {len(rows) - MAX_CLASS_ROWS:,} more classes") if len(rows) > MAX_CLASS_ROWS else Html()
    return join_html([html_table(head, lines), more])


def confusion_picture(evaluation: Evaluation) -> Html:
    """Return the confusion matrix as an image element with an embedded PNG."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "confusion.png"
        confusion_png(tables.confusion_matrix(evaluation), evaluation.classes, path)
        content = base64.b64encode(path.read_bytes()).decode()
    return element("img", src=f"data:image/png;base64,{content}", alt="confusion matrix", style="max-width:100%")
