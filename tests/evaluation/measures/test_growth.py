"""Measures apart for the old and the new classes of a grown model, compared with plain loops."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from imclass.core.config import Cut
from imclass.core.contracts import Evaluation
from imclass.core.model_file import DataFacts, Provenance
from imclass.core.targets import AnyOf, OneOf
from imclass.evaluation.measures.by_targets import evaluation_of, with_scores
from imclass.evaluation.measures.growth import group_measures, old_classes, with_old_classes
from imclass.evaluation.results import read_scores, save_scores
from tests.support.small import save_untrained

CLASSES = ("ant", "bee", "cat", "dog")
OLD = ("bee", "ant", "elk")  # elk was left out when the model grew


def one_of(images: int = 60, low: int = 0) -> Evaluation:
    draws = np.random.default_rng(0)
    targets = OneOf(draws.integers(low, 4, images))
    scores = draws.normal(size=(images, 4)).astype(np.float32)
    return evaluation_of(CLASSES, targets, scores, np.arange(images), images)


def test_accuracies_are_those_over_the_images_of_each_group() -> None:
    grown = with_old_classes(one_of(), OLD)
    for group, members in (("old", (0, 1)), ("new", (2, 3))):
        rows = [(s, t) for s, t in zip(grown.scores, grown.targets.numpy().tolist(), strict=True) if t in members]
        share = sum(int(s.argmax()) == t for s, t in rows) / len(rows)
        found = next(one for one in group_measures(grown) if one.name == group)
        assert (found.images, found.main) == (len(rows), pytest.approx(share))
        assert grown.measures[f"top1_{group}"] == found.main
    assert group_measures(one_of()) == () and "top1_old" not in one_of().measures


def test_a_group_without_images_has_no_measure() -> None:
    grown = with_old_classes(one_of(low=2), OLD)
    old, new = group_measures(grown)
    assert (old.images, new.images) == (0, 60) and np.isnan(old.main)
    assert "top1_old" not in grown.measures and grown.measures["top1_new"] == grown.measures["top1"]


def test_average_precisions_are_means_over_the_classes_of_each_group() -> None:
    draws = np.random.default_rng(1)
    marks = draws.integers(-1, 2, (40, 4)).astype(np.int8)
    marks[:, 1] = np.minimum(marks[:, 1], 0)  # no image has this class
    scores = draws.normal(size=(40, 4)).astype(np.float32)
    grown = with_old_classes(evaluation_of(CLASSES, AnyOf(marks), scores, np.arange(40), 40), OLD)
    each = [average_precision_score(marks[j, k] == 1, scores[j, k]) for k in (0, 2, 3) for j in [marks[:, k] >= 0]]
    old, new = group_measures(grown)
    assert (old.main, new.main) == (pytest.approx(each[0]), pytest.approx((each[1] + each[2]) / 2))
    assert old.images == (marks[:, 0] == 1).sum() and new.images == ((marks[:, 2] == 1) | (marks[:, 3] == 1)).sum()
    assert grown.measures["map_old"] == old.main


def test_the_groups_survive_a_file_and_new_scores(tmp_path: Path) -> None:
    grown = with_old_classes(one_of(), OLD)
    save_scores(tmp_path / "a.npz", grown, [str(i) for i in range(60)], {})
    assert group_measures(read_scores(tmp_path / "a.npz").evaluation) == group_measures(grown)
    assert with_scores(grown, -grown.scores).measures["top1_old"] != grown.measures["top1_old"]


def test_a_classifier_names_its_old_classes(tmp_path: Path) -> None:
    plain = save_untrained(tmp_path / "a.safetensors")
    assert old_classes(plain) == ()
    assert old_classes(replace(plain, trained=Provenance(data=DataFacts(cut=Cut(old=OLD))))) == OLD
