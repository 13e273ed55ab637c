"""A multi-label evaluation, as text for a terminal and as the record for `--json`."""

import math
from typing import Any

import numpy as np
from jaxtyping import Int8

from imclass.core.codec import to_json
from imclass.core.contracts import Evaluation
from imclass.core.targets import marks_of
from imclass.core.text import pad_text, percent, shorten_name, text_width
from imclass.evaluation.measures.multi_label import LabelRow, label_rows, macro_means, micro_means


def label_measures(evaluation: Evaluation) -> tuple[LabelRow, ...]:
    """Return the measures of each class."""
    return label_rows(evaluation.scores, marks(evaluation), evaluation.thresholds)


def marks(evaluation: Evaluation) -> Int8[np.ndarray, "N K"]:
    """Return the `marks` of each image. Raise a `UserError` if each image has one label."""
    return marks_of(evaluation.targets, "a mean average precision")


def headline(evaluation: Evaluation) -> str:
    """Return the main measures on one line."""
    m = evaluation.measures
    return f"mAP {percent(m['map'])}, micro F1 {percent(m['micro_f1'])}, loss {m['loss']:.4f}"


def label_parts(evaluation: Evaluation) -> list[str]:
    """Return the summary and the table of classes."""
    rows = label_measures(evaluation)
    return [label_summary(evaluation, rows), class_table(evaluation, rows)]


def label_summary(evaluation: Evaluation, rows: tuple[LabelRow, ...]) -> str:
    """Return lines with the mean average precision, F1 with precision and recall, and the loss."""
    m, scored = evaluation.measures, sum(row.positives > 0 for row in rows)
    left_out = f"; {len(rows) - scored:,} without images are left out" if scored < len(rows) else ""
    fitted = "the model's thresholds" if evaluation.thresholds else "a probability of 0.5"
    lines = [f"mean average precision (mAP) {percent(m['map'])} over {scored:,} classes{left_out}"]
    lines.append(f"as in VOC since 2010: {percent(m['map_voc'])}")
    lines.append(f"at eleven recalls, as in VOC 2007: {percent(m['map11'])}")
    every = micro_means(evaluation.scores, marks(evaluation), evaluation.thresholds)
    for name, means in (("micro", every), ("macro", macro_means(rows))):
        shares = f"precision {percent(means.precision)}, recall {percent(means.recall)}"
        lines.append(f"{name} F1 {percent(means.f1)}: {shares}, at {fitted}")
    lines.append(f"all labels correct: {percent(m['exact'])} of the images")
    lines.append(f"binary cross-entropy {m['loss']:.4f} per image, summed over classes")
    return "\n".join(lines)


def class_table(evaluation: Evaluation, rows: tuple[LabelRow, ...]) -> str:
    """Return a table of each class's number of images, average precision, threshold, precision, recall and F1."""
    names = [shorten_name(name) for name in evaluation.classes]
    wide = max(map(text_width, [*names, "class"]))
    heads = f"{'images':>9}{'AP':>10}{'AP 11':>10}{'threshold':>11}{'precision':>11}{'recall':>10}{'F1':>10}"
    lines = [pad_text("class", wide) + heads]
    for name, row in zip(names, rows, strict=True):
        shares = f"{percent(row.ap):>10}{percent(row.ap11):>10}{row.threshold:>11.3f}"
        shares += f"{percent(row.precision):>11}{percent(row.recall):>10}{percent(row.f1):>10}"
        lines.append(f"{pad_text(name, wide)}{row.positives:>9,}{shares}")
    return "\n".join(lines)


def label_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return the evaluation as JSON. Measures are in [0, 1], and null stands for 0 / 0.

    `map`, `map_voc`, `map11` and `macro` are means over the classes that have images. `classes_scored` is the number of
    these classes.
    """
    rows = label_measures(evaluation)
    every = micro_means(evaluation.scores, marks(evaluation), evaluation.thresholds)
    return {
        **{name: finite_or_none(value) for name, value in evaluation.measures.items()},
        "classes_scored": sum(row.positives > 0 for row in rows),
        "micro": json_numbers(to_json(every)),
        "macro": json_numbers(to_json(macro_means(rows))),
        "thresholds": [row.threshold for row in rows],
        "per_class": [
            {"class": name} | json_numbers(to_json(row)) for name, row in zip(evaluation.classes, rows, strict=True)
        ],
    }


def json_numbers(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers, with None in place of NaN."""
    return {name: finite_or_none(value) if isinstance(value, float) else value for name, value in numbers.items()}


def finite_or_none(value: float) -> float | None:
    """Return a number, or None for NaN, which cannot be written in JSON."""
    return None if math.isnan(value) else value
