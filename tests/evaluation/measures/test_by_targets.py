"""The measures of an evaluation follow the kind of its targets."""

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf
from imclass.evaluation.measures.by_targets import check_link, evaluation_of

SCORES = np.array([[2.0, -1.0], [-1.0, 1.0], [0.5, 0.5]], np.float32)
IDS = np.arange(3)
ONE, ANY = OneOf(np.array([0, 1, 0])), AnyOf(np.array([[1, 0], [0, 1], [0, 0]], np.int8))


def test_each_kind_has_its_measures() -> None:
    one = evaluation_of(("a", "b"), ONE, SCORES, IDS, 3)
    multi = evaluation_of(("a", "b"), ANY, SCORES, IDS, 4, thresholds=(0.7, 0.5))
    assert (
        one.main == "top1"
        and list(one.measures) == ["loss", "top1", "top5", "balanced", "macro_f1"]
        and one.thresholds == ()
    )
    assert multi.main == "map" and multi.measures["map"] == 1.0 and multi.thresholds == (0.7, 0.5)
    assert multi.measures["exact"] == pytest.approx(2 / 3) and multi.tally == "3 of 4 evaluated"
    assert evaluation_of(("a", "b"), ANY, SCORES, IDS, 4).measures["micro_f1"] < multi.measures["micro_f1"]


def test_a_model_of_the_other_kind_is_refused() -> None:
    check_link("softmax", ONE, "photos")
    check_link("sigmoid", ANY, "photos.csv")
    with pytest.raises(
        UserError, match=r"predicts one class for each image, but the images of photos\.csv may have several"
    ):
        check_link("softmax", ANY, "photos.csv")
    with pytest.raises(
        UserError, match="any number of classes for an image, but the images of photos have one each; train a model"
    ):
        check_link("sigmoid", ONE, "photos")
