"""An evaluation as plain text for a terminal, and as the record that `--json` prints."""

import math
from typing import Any

import numpy as np
from jaxtyping import Int64

from imclass.app.text import labels
from imclass.app.text.labels import known
from imclass.core.codec import to_json
from imclass.core.contracts import Evaluation
from imclass.core.targets import AnyOf, labels_of
from imclass.core.text import columns, padded, percent, printable, shortened
from imclass.evaluation.measures.calibration import Reliability, reliability
from imclass.evaluation.measures.intervals import recall_interval, wilson
from imclass.evaluation.measures.single_label import (
    brier,
    confusion,
    mean_class_recall,
    most_confused,
    per_class,
    predictions,
)

WHOLE = 20  # classes up to which a confusion matrix is shown whole
PAIRS = 12  # most confused pairs shown
FILES = 10  # refused files named in a summary; the record names all
SHORT = 4  # terminal columns of a class name that can head a column itself


def in_full(evaluation: Evaluation) -> list[str]:
    """Return all that a terminal shows of an evaluation, in parts."""
    if isinstance(evaluation.targets, AnyOf):
        return [*labels.in_full(evaluation), counted(evaluation)]
    return [summary(evaluation), class_table(evaluation), confusion_table(evaluation)]


def headline(evaluation: Evaluation) -> str:
    """Return the main measures on a line."""
    if isinstance(evaluation.targets, AnyOf):
        return labels.headline(evaluation)
    top1 = evaluation.measures["top1"]
    shares = f"top-1 {percent(top1)} {bracketed(share_interval(evaluation, top1))}"
    return f"{shares}{top5(evaluation, ', ')}, {evaluation.measures['loss']:.4f} nats"


def short_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return the main measures as JSON."""
    if isinstance(evaluation.targets, AnyOf):
        return {name: known(value) for name, value in evaluation.measures.items()}
    measures = {name: evaluation.measures[name] for name in ("top1", "top5", "loss")}
    return measures | {"top1_interval": list(share_interval(evaluation, measures["top1"]))}


def summary(evaluation: Evaluation) -> str:
    """Accuracies with their 95 % intervals, loss, calibration, and what was counted and refused, a line each."""
    top1, recall = share_interval(evaluation, evaluation.measures["top1"]), mean_class_recall(matrix(evaluation))
    squared, sureness = brier(evaluation.scores, one_each(evaluation)), bins_of(evaluation).error
    lines = [
        f"top-1 {percent(evaluation.measures['top1'])} {bracketed(top1)}{top5(evaluation, ', ')}",
        f"mean class recall {percent(recall)} {bracketed(class_interval(evaluation))}; "
        "in brackets 95 % intervals, Wilson's and the bootstrap's",
        f"cross-entropy {evaluation.measures['loss']:.4f} nats an image, Brier score {squared:.4f}, "
        f"calibration error {percent(sureness)}",
        counted(evaluation),
    ]
    return "\n".join(lines)


def counted(evaluation: Evaluation) -> str:
    """Return how many images were evaluated and refused, and the first refused files, a line each."""
    lines = [f"  refused: {printable(f'{r.path}: {r.detail} ({r.code})')}" for r in evaluation.refused[:FILES]]
    more = len(evaluation.refused) - FILES
    return "\n".join([evaluation.accounted, *lines, *([f"  and {more:,} more refused"] if more > 0 else [])])


def one_each(evaluation: Evaluation) -> Int64[np.ndarray, "N"]:
    """Return the one label of each image."""
    return labels_of(evaluation.targets, "a confusion matrix")


def top5(evaluation: Evaluation, before: str = "") -> str:
    """Return top-5 accuracy in words, after `before`; "" for up to five classes, where it says nothing."""
    if len(evaluation.classes) <= 5:
        return ""
    share = evaluation.measures["top5"]
    return f"{before}top-5 {percent(share)} {bracketed(share_interval(evaluation, share))}"


def share_interval(evaluation: Evaluation, share: float) -> tuple[float, float]:
    """Wilson's 95 % interval of an accuracy over the evaluated images; of one that is not known, all there is."""
    n = len(evaluation.targets)
    return (0.0, 1.0) if math.isnan(share) else wilson(round(share * n), n)


def class_interval(evaluation: Evaluation) -> tuple[float, float]:
    """The bootstrap's 95 % interval of the mean class recall."""
    right = predictions(evaluation.scores) == one_each(evaluation)
    return recall_interval(right, one_each(evaluation), len(evaluation.classes))


def bins_of(evaluation: Evaluation) -> Reliability:
    """How sure the model was and how often it was right, in 15 bins."""
    return reliability(evaluation.scores, one_each(evaluation))


def bracketed(interval: tuple[float, float]) -> str:
    """An interval of a share as "(59.58 to 98.21)", in %."""
    return f"({100 * interval[0]:.2f} to {100 * interval[1]:.2f})"


def class_table(evaluation: Evaluation) -> str:
    """Images, precision, recall and F1 of each class, aligned; "-" where there is nothing to divide by."""
    names = [shortened(name) for name in evaluation.classes]
    wide = max(map(columns, [*names, "class"]))
    lines = [f"{padded('class', wide)}{'images':>9}{'precision':>12}{'recall':>11}{'F1':>11}"]
    for name, row in zip(names, per_class(matrix(evaluation)), strict=True):
        shares = f"{percent(row.precision):>12}{percent(row.recall):>11}{percent(row.f1):>11}"
        lines.append(f"{padded(name, wide)}{row.support:>9,}{shares}")
    return "\n".join(lines)


def confusion_table(evaluation: Evaluation) -> str:
    """The confusion matrix, or its most confused pairs where it would not fit a terminal."""
    counts = matrix(evaluation)
    return whole(counts, evaluation.classes) if len(counts) <= WHOLE else pairs(counts, evaluation.classes)


def whole(counts: Int64[np.ndarray, "K K"], classes: tuple[str, ...]) -> str:
    """Every count of the matrix; "." is none. Columns bear the names where all are short, else numbers from 1."""
    names = [shortened(name) for name in classes]
    short = max(map(columns, names)) <= SHORT
    heads = names if short else [str(i) for i in range(1, len(names) + 1)]
    sides = names if short else [f"{i:>2} {name}" for i, name in enumerate(names, 1)]
    wide, cell = max(map(columns, sides)), max(4, len(str(counts.max())) + 1, max(map(columns, heads)) + 1)
    head = " " * wide + "".join(" " * (cell - columns(text)) + text for text in heads)
    lines = ["rows: true class; columns: predicted class" + ("" if short else ", by number"), head]
    for side, row in zip(sides, counts.tolist(), strict=True):
        lines.append(padded(side, wide) + "".join(f"{count or '.':>{cell}}" for count in row))
    return "\n".join(lines)


def pairs(counts: Int64[np.ndarray, "K K"], classes: tuple[str, ...]) -> str:
    """The pairs of classes confused most often, the most frequent first."""
    found = most_confused(counts, PAIRS)
    if not found:
        return "no image was taken for another class"
    lines = [f"most confused of {len(classes):,} classes: images, of how many, true class -> predicted class"]
    for true, predicted, images, of in found:
        lines.append(f"{images:>7,} of {of:<7,} {shortened(classes[true])} -> {shortened(classes[predicted])}")
    return "\n".join(lines)


def record(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON: accuracies in [0, 1], null for 0/0; the rows of the matrix are true classes.

    Intervals cover 95 %: Wilson's of accuracies, the bootstrap's of the mean class recall. With five classes or fewer
    top-5 is 1 by definition and has none. `loss` and `nll` are one number.
    """
    if isinstance(evaluation.targets, AnyOf):
        return labels.record(evaluation) | counts_record(evaluation)
    counts = matrix(evaluation)
    known_top5 = len(evaluation.classes) > 5
    return {
        "top1": evaluation.measures["top1"],
        "top1_interval": list(share_interval(evaluation, evaluation.measures["top1"])),
        "top5": evaluation.measures["top5"],
        "top5_interval": list(share_interval(evaluation, evaluation.measures["top5"])) if known_top5 else None,
        "mean_class_recall": known(mean_class_recall(counts)),
        "mean_class_recall_interval": [known(end) for end in class_interval(evaluation)],
        "loss": evaluation.measures["loss"],
        "nll": evaluation.measures["loss"],
        "brier": brier(evaluation.scores, one_each(evaluation)),
        "ece": bins_of(evaluation).error,
        "reliability": reliability_record(bins_of(evaluation)),
        "per_class": class_record(counts, evaluation.classes),
        "most_confused": [
            {"true": evaluation.classes[true], "predicted": evaluation.classes[predicted], "images": images}
            for true, predicted, images, _ in most_confused(counts, PAIRS)
        ],
        "confusion": counts.tolist(),
    } | counts_record(evaluation)


def counts_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return how many images were evaluated and refused, and the refused files, as JSON."""
    return {
        "evaluated": len(evaluation.targets),
        "refused": len(evaluation.refused),
        "left_out": evaluation.left_out,
        "trained_on": evaluation.trained_on,
        "total": evaluation.total,
        "refused_files": to_json(evaluation.refused),
    }


def class_record(counts: Int64[np.ndarray, "K K"], classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Support, precision, recall and F1 of each class, as JSON."""
    return [
        {
            "class": name,
            "support": row.support,
            "precision": known(row.precision),
            "recall": known(row.recall),
            "f1": known(row.f1),
        }
        for name, row in zip(classes, per_class(counts), strict=True)
    ]


def reliability_record(bins: Reliability) -> list[dict[str, Any]]:
    """Images, mean confidence and accuracy of each bin of confidence, as JSON."""
    columns_of = zip(bins.counts.tolist(), bins.confidence.tolist(), bins.accuracy.tolist(), strict=True)
    return [{"images": n, "confidence": known(sure), "accuracy": known(right)} for n, sure, right in columns_of]


def matrix(evaluation: Evaluation) -> Int64[np.ndarray, "K K"]:
    """The evaluation's confusion matrix."""
    return confusion(predictions(evaluation.scores), one_each(evaluation), len(evaluation.classes))
