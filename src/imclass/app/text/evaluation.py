"""An evaluation as plain text for a terminal, and as the record that `--json` prints."""

import math
from typing import Any

import numpy as np
from jaxtyping import Int64

from imclass.app.text import labels
from imclass.app.text.labels import finite_or_none
from imclass.core.codec import to_json
from imclass.core.contracts import Evaluation
from imclass.core.targets import AnyOf, OneOf, labels_of
from imclass.core.text import measure_title, pad_text, percent, printable_text, shorten_name, text_width
from imclass.data.balance import is_uneven
from imclass.evaluation.measures.calibration import Reliability, reliability
from imclass.evaluation.measures.growth import GroupMeasure, group_measures
from imclass.evaluation.measures.intervals import recall_interval, wilson_interval
from imclass.evaluation.measures.single_label import (
    brier_score,
    class_rows,
    confused_pairs,
    confusion_counts,
    predictions,
)

MAX_MATRIX_CLASSES = 20  # with more classes, only the most confused pairs are shown
MAX_CONFUSED_PAIRS = 12
MAX_REFUSED_FILES = 10  # maximum number listed in a summary; the record lists all refused files
MAX_HEAD_WIDTH = 4  # terminal columns; if a class name is longer, columns are numbered


def evaluation_parts(evaluation: Evaluation) -> list[str]:
    """Return the paragraphs of an evaluation's terminal output."""
    if isinstance(evaluation.targets, AnyOf):
        summary, table = labels.label_parts(evaluation)
        return ["\n".join([summary, *group_lines(evaluation)]), table, counts_text(evaluation)]
    return [summary_text(evaluation), class_table(evaluation), confusion_table(evaluation)]


def headline(evaluation: Evaluation) -> str:
    """Return the main measures on one line."""
    if isinstance(evaluation.targets, AnyOf):
        return labels.headline(evaluation)
    top1 = evaluation.measures["top1"]
    shares = f"top-1 {percent(top1)} {interval_text(share_interval(evaluation, top1))}"
    if has_uneven_classes(evaluation):
        shares += f", balanced accuracy {percent(evaluation.measures['balanced'])}"
    return f"{shares}{top5_text(evaluation, ', ')}, loss {evaluation.measures['loss']:.4f}"


def short_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return the main measures as JSON."""
    if isinstance(evaluation.targets, AnyOf):
        return {name: finite_or_none(value) for name, value in evaluation.measures.items()}
    measures = {name: evaluation.measures[name] for name in ("top1", "top5", "balanced", "macro_f1", "loss")}
    return measures | {"top1_interval": list(share_interval(evaluation, measures["top1"]))}


def summary_text(evaluation: Evaluation) -> str:
    """Return lines with the accuracies and their 95% intervals, loss, calibration, and numbers of images."""
    top1 = evaluation.measures["top1"]
    brier = brier_score(evaluation.scores, single_labels(evaluation))
    lines = [
        f"top-1 {percent(top1)} {interval_text(share_interval(evaluation, top1))}{top5_text(evaluation, ', ')}",
        f"balanced accuracy {balanced_text(evaluation)}, macro F1 {percent(evaluation.measures['macro_f1'])}; "
        "95% confidence intervals in brackets (Wilson, bootstrap)",
        f"cross-entropy {evaluation.measures['loss']:.4f} per image, Brier score {brier:.4f}, "
        f"calibration error {percent(reliability_bins(evaluation).error)}",
        *group_lines(evaluation),
        counts_text(evaluation),
    ]
    return "\n".join(lines)


def group_lines(evaluation: Evaluation) -> list[str]:
    """Return two lines with the main measure over the old and the new classes of a grown model, or none."""
    return [f"{group.name} classes: {group_text(evaluation, group)}" for group in group_measures(evaluation)]


def group_text(evaluation: Evaluation, group: GroupMeasure) -> str:
    """Return the main measure over the images of a group of classes, with its interval if it is an accuracy."""
    if not group.images:
        return "no images"
    text = f"{measure_title(evaluation.main)} {percent(group.main)}"
    if evaluation.main == "top1":
        text += f" {interval_text(wilson_interval(round(group.main * group.images), group.images))}"
    return f"{text}, {group.images:,} images"


def group_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return the main measure over the old and the new classes of a grown model as JSON."""
    return {
        f"{group.name}_classes": {"images": group.images, evaluation.main: finite_or_none(group.main)}
        for group in group_measures(evaluation)
    }


def counts_text(evaluation: Evaluation) -> str:
    """Return the numbers of evaluated and refused images, then the first refused files, one per line."""
    lines = [evaluation.tally]
    for refused in evaluation.refused[:MAX_REFUSED_FILES]:
        lines.append(f"  refused: {printable_text(f'{refused.path}: {refused.detail} ({refused.code})')}")
    more = len(evaluation.refused) - MAX_REFUSED_FILES
    if more > 0:
        lines.append(f"  and {more:,} more refused")
    return "\n".join(lines)


def single_labels(evaluation: Evaluation) -> Int64[np.ndarray, "N"]:
    """Return the label of each image. Raise a `UserError` if an image may have several labels."""
    return labels_of(evaluation.targets, "a confusion matrix")


def top5_text(evaluation: Evaluation, before: str = "") -> str:
    """Return the top-5 accuracy as text after `before`, or "" for up to five classes, where it is always 100%."""
    if len(evaluation.classes) <= 5:
        return ""
    share = evaluation.measures["top5"]
    return f"{before}top-5 {percent(share)} {interval_text(share_interval(evaluation, share))}"


def has_uneven_classes(evaluation: Evaluation) -> bool:
    """Return whether each image has one label, and the classes have very different numbers of images."""
    targets = evaluation.targets
    return isinstance(targets, OneOf) and is_uneven(targets.counts(len(evaluation.classes)))


def balanced_text(evaluation: Evaluation) -> str:
    """Return the balanced accuracy with its interval."""
    return f"{percent(evaluation.measures['balanced'])} {interval_text(class_interval(evaluation))}"


def share_interval(evaluation: Evaluation, share: float) -> tuple[float, float]:
    """Return the 95% Wilson interval for an accuracy on the evaluated images, or (0, 1) if it is unknown."""
    n = len(evaluation.targets)
    return (0.0, 1.0) if math.isnan(share) else wilson_interval(round(share * n), n)


def class_interval(evaluation: Evaluation) -> tuple[float, float]:
    """Return the 95% bootstrap interval for the balanced accuracy."""
    right = predictions(evaluation.scores) == single_labels(evaluation)
    return recall_interval(right, single_labels(evaluation), len(evaluation.classes))


def reliability_bins(evaluation: Evaluation) -> Reliability:
    """Return the model's mean confidence and accuracy in each of 15 confidence bins."""
    return reliability(evaluation.scores, single_labels(evaluation))


def interval_text(interval: tuple[float, float]) -> str:
    """Return an interval of fractions as percentages, such as "(59.58 to 98.21)"."""
    return f"({100 * interval[0]:.2f} to {100 * interval[1]:.2f})"


def class_table(evaluation: Evaluation) -> str:
    """Return a table of each class's number of images, precision, recall and F1. "-" stands for 0 / 0."""
    names = [shorten_name(name) for name in evaluation.classes]
    wide = max(map(text_width, [*names, "class"]))
    lines = [f"{pad_text('class', wide)}{'images':>9}{'precision':>12}{'recall':>11}{'F1':>11}"]
    for name, row in zip(names, class_rows(confusion_matrix(evaluation)), strict=True):
        shares = f"{percent(row.precision):>12}{percent(row.recall):>11}{percent(row.f1):>11}"
        lines.append(f"{pad_text(name, wide)}{row.support:>9,}{shares}")
    return "\n".join(lines)


def confusion_table(evaluation: Evaluation) -> str:
    """Return the confusion matrix as text, or the most confused pairs if the matrix is too large for a terminal."""
    counts, classes = confusion_matrix(evaluation), evaluation.classes
    return matrix_text(counts, classes) if len(counts) <= MAX_MATRIX_CLASSES else pairs_text(counts, classes)


def matrix_text(counts: Int64[np.ndarray, "K K"], classes: tuple[str, ...]) -> str:
    """Return a confusion matrix as text, with "." for 0. The columns are numbered if a class name is too long."""
    names = [shorten_name(name) for name in classes]
    short = max(map(text_width, names)) <= MAX_HEAD_WIDTH
    heads = names if short else [str(i) for i in range(1, len(names) + 1)]
    sides = names if short else [f"{i:>2} {name}" for i, name in enumerate(names, 1)]
    wide, cell = max(map(text_width, sides)), max(4, len(str(counts.max())) + 1, max(map(text_width, heads)) + 1)
    head = " " * wide + "".join(" " * (cell - text_width(text)) + text for text in heads)
    lines = ["rows: true class; columns: predicted class" + ("" if short else ", by number"), head]
    for side, row in zip(sides, counts.tolist(), strict=True):
        lines.append(pad_text(side, wide) + "".join(f"{count or '.':>{cell}}" for count in row))
    return "\n".join(lines)


def pairs_text(counts: Int64[np.ndarray, "K K"], classes: tuple[str, ...]) -> str:
    """Return the most confused pairs of classes as text, with the most frequent errors first."""
    found = confused_pairs(counts, MAX_CONFUSED_PAIRS)
    if not found:
        return "no image was assigned to a wrong class"
    lines = [
        f"most confused of {len(classes):,} classes: errors out of images in the class, true class -> predicted class"
    ]
    for true, predicted, images, of in found:
        lines.append(f"{images:>7,} of {of:<7,} {shorten_name(classes[true])} -> {shorten_name(classes[predicted])}")
    return "\n".join(lines)


def evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return the evaluation as JSON. Accuracies are in [0, 1], and null stands for 0 / 0.

    The rows of the confusion matrix are true classes. Intervals are 95% confidence intervals: Wilson for accuracies,
    and bootstrap for the balanced accuracy. With at most five classes, top-5 is always 1, and its interval is null.
    `loss` and `nll` are the same number.
    """
    if isinstance(evaluation.targets, AnyOf):
        return labels.label_record(evaluation) | counts_record(evaluation)
    counts = confusion_matrix(evaluation)
    known_top5 = len(evaluation.classes) > 5
    return {
        "top1": evaluation.measures["top1"],
        "top1_interval": list(share_interval(evaluation, evaluation.measures["top1"])),
        "top5": evaluation.measures["top5"],
        "top5_interval": list(share_interval(evaluation, evaluation.measures["top5"])) if known_top5 else None,
        "balanced": finite_or_none(evaluation.measures["balanced"]),
        "balanced_interval": [finite_or_none(end) for end in class_interval(evaluation)],
        "macro_f1": finite_or_none(evaluation.measures["macro_f1"]),
        "loss": evaluation.measures["loss"],
        "nll": evaluation.measures["loss"],
        "brier": brier_score(evaluation.scores, single_labels(evaluation)),
        "ece": reliability_bins(evaluation).error,
        "reliability": reliability_record(reliability_bins(evaluation)),
        "per_class": class_record(counts, evaluation.classes),
        "most_confused": [
            {"true": evaluation.classes[true], "predicted": evaluation.classes[predicted], "images": images}
            for true, predicted, images, _ in confused_pairs(counts, MAX_CONFUSED_PAIRS)
        ],
        "confusion": counts.tolist(),
    } | counts_record(evaluation)


def counts_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return the numbers of evaluated, refused and left-out images, the refused files, and the groups of classes."""
    return {
        "evaluated": len(evaluation.targets),
        "refused": len(evaluation.refused),
        "left_out": evaluation.left_out,
        "trained_on": evaluation.trained_on,
        "total": evaluation.total,
        "refused_files": to_json(evaluation.refused),
    } | group_record(evaluation)


def class_record(counts: Int64[np.ndarray, "K K"], classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the support, precision, recall and F1 for each class, as JSON."""
    return [
        {
            "class": name,
            "support": row.support,
            "precision": finite_or_none(row.precision),
            "recall": finite_or_none(row.recall),
            "f1": finite_or_none(row.f1),
        }
        for name, row in zip(classes, class_rows(counts), strict=True)
    ]


def reliability_record(bins: Reliability) -> list[dict[str, Any]]:
    """Return the number of images, mean confidence and accuracy in each confidence bin, as JSON."""
    each_bin = zip(bins.counts.tolist(), bins.confidence.tolist(), bins.accuracy.tolist(), strict=True)
    return [
        {"images": n, "confidence": finite_or_none(confidence), "accuracy": finite_or_none(accuracy)}
        for n, confidence, accuracy in each_bin
    ]


def confusion_matrix(evaluation: Evaluation) -> Int64[np.ndarray, "K K"]:
    """Return the evaluation's confusion matrix."""
    return confusion_counts(predictions(evaluation.scores), single_labels(evaluation), len(evaluation.classes))
