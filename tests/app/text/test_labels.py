"""Text and record of an evaluation of images that may have several labels."""

import json
import math

import numpy as np
import pytest

from imclass.app.text import evaluation as tables
from imclass.app.text import labels
from imclass.core.contracts import Evaluation, Refused
from imclass.core.targets import AnyOf
from imclass.evaluation.measures.by_targets import evaluation_of

MARKS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, -1, 0]], np.int8)
SCORES = np.array([[3, -1, -2], [1, 2, -2], [2, 1, -2], [-1, 9, 4]], np.float32)


def evaluation(thresholds: tuple[float, ...] = ()) -> Evaluation:
    refused = (Refused("x.png", "empty", "0 bytes"),)
    return evaluation_of(("cat", "dog", "猫"), AnyOf(MARKS), SCORES, np.arange(4), 5, refused, thresholds)


def test_means_classes_and_counts_are_printed() -> None:
    """Compare with values by hand: cat is ranked yes, no, yes; dog yes, yes, no; no image has the third class."""
    means, table, counts = tables.evaluation_parts(evaluation())
    lines = means.splitlines()
    assert lines[0] == "mean average precision (mAP) 91.67% over 2 classes; 1 without images are left out"
    assert lines[1:3] == ["as in VOC since 2010: 91.67%", "at eleven recalls, as in VOC 2007: 92.42%"]
    assert lines[3] == "micro F1 80.00%: precision 66.67%, recall 100.00%, at a probability of 0.5"
    assert lines[4] == "macro F1 90.00%: precision 83.33%, recall 100.00%, at a probability of 0.5"
    assert lines[5] == "all labels correct: 50.00% of the images" and lines[6].endswith("summed over classes")
    rows = table.splitlines()
    assert rows[0].split() == ["class", "images", "AP", "AP", "11", "threshold", "precision", "recall", "F1"]
    assert rows[1].split()[:4] == ["cat", "2", "83.33%", "84.85%"] and rows[3].split()[:4] == ["猫", "0", "-", "-"]
    assert len({tables.text_width(row) for row in rows}) == 1
    assert counts.splitlines() == ["4 of 5 evaluated, 1 refused", "  refused: x.png: 0 bytes (empty)"]


def test_the_models_thresholds_are_named() -> None:
    means, table = labels.label_parts(evaluation((0.9, 0.5, 0.99)))
    assert "at the model's thresholds" in means and table.splitlines()[1].split()[4] == "0.900"
    assert labels.headline(evaluation()).startswith("mAP 91.67%, micro F1 80.00%, ")
    assert tables.headline(evaluation()) == labels.headline(evaluation())


def test_the_record_is_json() -> None:
    found = json.loads(json.dumps(tables.evaluation_record(evaluation((0.9, 0.5, 0.99))), allow_nan=False))
    assert found["map"] == pytest.approx(11 / 12) and found["classes_scored"] == 2
    assert found["thresholds"] == [0.9, 0.5, 0.99] and found["per_class"][2]["ap"] is None
    assert found["per_class"][0]["positives"] == 2 and found["per_class"][1]["judged"] == 3
    assert (found["evaluated"], found["refused"], found["total"]) == (4, 1, 5)
    assert found["micro"]["precision"] == pytest.approx(3 / 3) and found["refused_files"][0]["path"] == "x.png"
    short = tables.short_record(evaluation())
    assert short["map"] == pytest.approx(11 / 12) and "top1" not in short and not math.isnan(short["exact"])
