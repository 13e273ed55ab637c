"""An evaluation as printed text and as the record of `--json`."""

import json
import math

import numpy as np
import pytest

from imclass.app.text.evaluation import class_table, confusion_table, evaluation_record, summary_text
from imclass.core.contracts import Evaluation, Refused
from imclass.core.targets import OneOf
from imclass.core.text import text_width
from imclass.evaluation.measures.intervals import wilson_interval
from imclass.evaluation.measures.single_label import (
    brier_score,
    class_rows,
    confusion_counts,
    measures,
    predictions,
)


def evaluation(
    predicted: list[int], labels: list[int], classes: tuple[str, ...], refused: tuple[Refused, ...] = ()
) -> Evaluation:
    """Return an evaluation with these confident predictions, and an invented loss and top-5 accuracy."""
    scores = 9 * np.eye(len(classes), dtype=np.float32)[predicted]
    n, found = len(labels), measures(scores, np.array(labels))
    return Evaluation(
        classes,
        OneOf(np.array(labels)),
        scores,
        np.arange(n),
        n + len(refused),
        refused,
        {**found, "loss": 0.25, "top5": 0.9995},
    )


SIX = ("ant", "bee", "cow", "doe", "elk", "fly")


def test_the_summary_has_accuracy_interval_loss_and_counts() -> None:
    text = summary_text(evaluation([0, 1, 2, 3, 4, 0, 1, 2, 3, 0], [0, 1, 2, 3, 4, 0, 1, 2, 3, 5], SIX))
    # Intervals are as in published tables of Wilson's score; 9.995 of 10 images count as 10.
    assert text.splitlines()[0] == "top-1 90.00% (59.58 to 98.21), top-5 99.95% (72.25 to 100.00)"
    recall, rest = text.splitlines()[1].split(" (", 1)
    assert recall == "balanced accuracy 83.33%"  # of five classes all, of the sixth none
    assert rest.endswith("; 95% confidence intervals in brackets (Wilson, bootstrap)")
    sure, rest_sure = math.exp(9) / (math.exp(9) + 5), 1 / (math.exp(9) + 5)
    right, wrong = (1 - sure) ** 2 + 5 * rest_sure**2, sure**2 + (1 - rest_sure) ** 2 + 4 * rest_sure**2
    calibration = 100 * abs(sure - 0.9)
    assert text.splitlines()[2:] == [
        f"cross-entropy 0.2500 per image, Brier score {0.9 * right + 0.1 * wrong:.4f}, "
        f"calibration error {calibration:.2f}%",
        "10 of 10 evaluated",
    ]


@pytest.mark.parametrize("k", [2, 5, 6])
def test_top_five_of_few_classes_is_not_printed(k: int) -> None:
    first = summary_text(evaluation([0, 1], [0, 0], SIX[:k])).splitlines()[0]
    assert first.startswith("top-1 ") and (", top-5 99.95%" in first) == (k > 5)


def test_refused_files_are_named_and_cannot_write_to_the_terminal() -> None:
    refused = tuple(Refused(f"bad\x1b[2J{i}\n.jpg", "truncated", "ends early") for i in range(12))
    lines = summary_text(evaluation([0], [0], SIX, refused)).splitlines()
    assert lines[3] == "1 of 13 evaluated, 12 refused"
    assert lines[4] == "  refused: bad\\x1b[2J0\\n.jpg: ends early (truncated)"
    assert lines[-1] == "  and 2 more refused" and len(lines) == 15


def test_class_table_is_aligned_and_shows_a_dash_for_nothing() -> None:
    lines = class_table(evaluation([0, 0, 1], [0, 1, 1], ("ant", "猫", "cow"))).splitlines()
    assert lines[1].split() == ["ant", "1", "50.00%", "100.00%", "66.67%"]
    assert lines[2].split() == ["猫", "2", "100.00%", "50.00%", "66.67%"]
    assert lines[3].split() == ["cow", "0", "-", "-", "-"]
    assert len({text_width(line) for line in lines}) == 1
    assert len({len(line) for line in lines}) == 2  # counting characters would not have aligned them


def test_a_small_confusion_matrix_is_shown_whole() -> None:
    lines = confusion_table(evaluation([0, 0, 1], [0, 1, 1], ("ant", "bee"))).splitlines()
    assert "rows: true" in lines[0]
    assert [line.split() for line in lines[1:]] == [["ant", "bee"], ["ant", "1", "."], ["bee", "1", "1"]]
    assert len({len(line) for line in lines[1:]}) == 1


def test_short_names_head_their_columns() -> None:
    digits = tuple("0123456789")
    lines = confusion_table(evaluation([7], [7], digits)).splitlines()
    assert "number" not in lines[0] and tuple(lines[1].split()) == digits
    assert lines[9].index("1") == lines[1].index("7")


@pytest.mark.parametrize("name", ["mouse", "猫猫猫"])
def test_columns_of_long_names_are_numbered(name: str) -> None:
    lines = confusion_table(evaluation([0, 0, 1], [0, 1, 1], ("ant", name))).splitlines()
    assert "by number" in lines[0]
    assert [line.split() for line in lines[1:]] == [["1", "2"], ["1", "ant", "1", "."], ["2", name, "1", "1"]]
    assert len({text_width(line) for line in lines[1:]}) == 1


def test_short_wide_names_are_aligned() -> None:
    lines = confusion_table(evaluation([0, 0, 1], [0, 1, 1], ("犬", "猫猫"))).splitlines()
    assert lines[1].split() == ["犬", "猫猫"] and len({text_width(line) for line in lines[1:]}) == 1


@pytest.mark.parametrize(("k", "whole"), [(20, True), (21, False)])
def test_pairs_replace_the_matrix_above_twenty_classes(k: int, whole: bool) -> None:
    text = confusion_table(evaluation([0], [1], tuple(f"class {i}" for i in range(k))))
    assert text.startswith("rows: true class" if whole else "most confused of 21 classes")


def test_the_most_confused_pairs_come_first() -> None:
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 30, (2, 2000))
    classes = tuple(f"c{i}" for i in range(30))
    lines = confusion_table(evaluation(predicted.tolist(), labels.tolist(), classes)).splitlines()[1:]
    counts: dict[tuple[int, int], int] = {}
    for true, guess in zip(labels.tolist(), predicted.tolist(), strict=True):
        if true != guess:
            counts[true, guess] = counts.get((true, guess), 0) + 1
    best = sorted(counts, key=lambda pair: (-counts[pair], pair))[:12]
    expected = [f"{counts[t, p]} of {(labels == t).sum()} c{t} -> c{p}".split() for t, p in best]
    assert [line.split() for line in lines] == expected


def test_a_matrix_without_mistakes_has_a_message() -> None:
    assert "no image" in confusion_table(evaluation([3], [3], tuple(f"c{i}" for i in range(30))))


def test_record_is_json_and_holds_what_was_counted() -> None:
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 5, (2, 50)).tolist()
    found = evaluation(predicted, labels, SIX, (Refused("x/\udcff.jpg", "empty", "0 bytes"),))
    held = json.loads(json.dumps(evaluation_record(found), allow_nan=False))
    assert (held["top1"], held["top5"], held["loss"]) == (found.measures["top1"], 0.9995, 0.25)
    assert (held["evaluated"], held["refused"], held["total"]) == (50, 1, 51)
    counts = confusion_counts(predictions(found.scores), found.targets.numpy(), 6)
    assert held["confusion"] == counts.tolist()
    assert held["refused_files"] == [{"path": "x/\udcff.jpg", "code": "empty", "detail": "0 bytes"}]
    assert [row["class"] for row in held["per_class"]] == list(SIX)
    assert held["per_class"][5] == {"class": "fly", "support": 0, "precision": None, "recall": None, "f1": None}
    assert [row["recall"] for row in held["per_class"][:5]] == [row.recall for row in class_rows(counts)[:5]]


def test_record_holds_intervals_and_calibration() -> None:
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 6, (2, 50)).tolist()
    found = evaluation(predicted, labels, SIX)
    held = json.loads(json.dumps(evaluation_record(found), allow_nan=False))
    assert held["top1_interval"] == list(wilson_interval(round(50 * found.measures["top1"]), 50))
    assert held["top5_interval"] == list(wilson_interval(50, 50))
    low, high = held["balanced_interval"]
    assert low < held["balanced"] < high
    recalls = [row.recall for row in class_rows(confusion_counts(predictions(found.scores), found.targets.numpy(), 6))]
    assert held["balanced"] == pytest.approx(np.nanmean(recalls), rel=1e-12)
    assert held["nll"] == held["loss"] == 0.25
    assert held["brier"] == brier_score(found.scores, found.targets.numpy())
    bins = held["reliability"]
    assert len(bins) == 15 and sum(b["images"] for b in bins) == 50 and bins[0]["accuracy"] is None
    gaps = [b["images"] / 50 * abs(b["confidence"] - b["accuracy"]) for b in bins if b["images"]]
    assert held["ece"] == pytest.approx(sum(gaps), rel=1e-12)
    worst = held["most_confused"][0]
    counts = confusion_counts(predictions(found.scores), found.targets.numpy(), 6)
    assert worst["images"] == (counts - np.diag(counts.diagonal())).max()
    assert counts[SIX.index(worst["true"]), SIX.index(worst["predicted"])] == worst["images"]


def test_five_classes_have_no_top_five_interval() -> None:
    assert evaluation_record(evaluation([0, 1], [0, 0], SIX[:5]))["top5_interval"] is None
    assert evaluation_record(evaluation([0, 1], [0, 0], SIX))["top5_interval"] is not None
