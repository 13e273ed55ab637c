"""A result as a notebook shows it: a table of rows and, of the last, its classes and its confusion matrix."""
# Tested in tests/app/evaluation/test_result.py

import base64
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from imclass.app.draw.confusion import confusion_png
from imclass.app.report.markup import Html, element, name, table, together
from imclass.app.text import evaluation as tables
from imclass.core.contracts import Evaluation
from imclass.core.text import percent
from imclass.evaluation.measures.single_label import per_class

if TYPE_CHECKING:
    from imclass.app.evaluation.result import Result

MOST = 100  # classes in a table


def show(result: "Result") -> Html:
    """Return the rows and, where there is one row, its classes and the confusion matrix, as markup."""
    if not result.rows:
        return element("p", "no rows: the first process has them")
    head = ("Model", "Top-1", "95 % interval", "Cross-entropy", "Evaluated")
    rows = []
    for row in result.rows:
        one = row.evaluation
        low, high = tables.share_interval(one, one.measures["top1"])
        interval = f"{100 * low:.2f} to {100 * high:.2f} %"
        rows.append(
            (name(row.name, 60), percent(one.measures["top1"]), interval, f"{one.measures['loss']:.4f}", one.accounted)
        )
    parts = [element("p", result.rows[-1].facts.said), table(head, rows)]
    if len(result.rows) == 1:
        parts += [class_table(result.evaluation), confusion_picture(result.evaluation)]
    return element("div", *parts)


def class_table(evaluation: Evaluation) -> Html:
    """Return images, precision, recall and F1 of each class, the worst by F1 first."""
    rows = list(zip(evaluation.classes, per_class(tables.matrix(evaluation)), strict=True))
    rows.sort(key=lambda row: math.inf if math.isnan(row[1].f1) else row[1].f1)
    lines = [
        (name(label), f"{row.support:,}", percent(row.precision), percent(row.recall), percent(row.f1))
        for label, row in rows[:MOST]
    ]
    more = element("p", f"and {len(rows) - MOST:,} more classes") if len(rows) > MOST else Html()
    return together([table(("Class", "Images", "Precision", "Recall", "F1"), lines), more])


def confusion_picture(evaluation: Evaluation) -> Html:
    """Return the confusion matrix as an image element that holds the picture."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "confusion.png"
        confusion_png(tables.matrix(evaluation), evaluation.classes, path)
        content = base64.b64encode(path.read_bytes()).decode()
    return element("img", src=f"data:image/png;base64,{content}", alt="confusion matrix", style="max-width:100%")
