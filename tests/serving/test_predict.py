"""Predictions for image files: in order, of the classes that the classifier names, refused files in their places."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from imclass.core.contracts import Image
from imclass.serving.inputs import Files
from imclass.serving.predict import predict
from tests.support.small import tree
from tests.support.stubs import Stub


class ByBrightness(Stub):
    """Scores that follow from an image's mean; it notes how many images came at a time."""

    classes = ("dark", "grey", "light")

    def __init__(self) -> None:
        self.batches: list[int] = []

    def classify(self, images: Sequence[Image]) -> torch.Tensor:
        self.batches.append(len(images))
        return torch.tensor([scores(image) for image in images], dtype=torch.float32)


def scores(image: Image) -> list[float]:
    mean = float(image.mean())
    return [-mean / 10, -abs(mean - 128) / 10, mean / 10 - 20]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Six images, and two files that are none before the third and after the last."""
    paths = sorted(tree(tmp_path / "pets", per_class=3).rglob("*.png"))
    for name in ("bad", "worse"):
        (tmp_path / f"{name}.png").write_bytes(b"")
    return Files(tuple(map(str, [*paths[:2], tmp_path / "bad.png", *paths[2:], tmp_path / "worse.png"])))


@pytest.mark.parametrize(("batch", "workers"), [(1, 0), (3, 0), (32, 2)])
def test_each_file_has_its_own_prediction_in_its_place(files: Files, batch: int, workers: int) -> None:
    classifier = ByBrightness()
    found = list(predict(classifier, files, top=2, batch=batch, workers=workers))
    assert [p.path for p in found] == list(files.paths)
    for i, prediction in enumerate(found):
        if i in (2, 7):
            assert prediction.classes == () and prediction.refused is not None
            assert (prediction.refused.path, prediction.refused.code) == (files.paths[i], "empty")
            continue
        powers = np.exp(scores(files[i]))
        expected = sorted(zip(powers / powers.sum(), classifier.classes, strict=True), reverse=True)[:2]
        assert prediction.refused is None
        assert [name for name, _ in prediction.classes] == [name for _, name in expected]
        assert [p for _, p in prediction.classes] == pytest.approx([p for p, _ in expected], rel=1e-5)
    assert sum(classifier.batches) == 6 and max(classifier.batches) <= batch


@pytest.mark.parametrize(("top", "shown"), [(1, 1), (3, 3), (1000, 3)])
def test_there_are_no_more_than_all_classes(files: Files, top: int, shown: int) -> None:
    assert {len(p.classes) for p in predict(ByBrightness(), files, top) if not p.refused} == {shown}


def test_a_classifier_is_not_asked_about_no_images(files: Files) -> None:
    classifier = ByBrightness()
    (only,) = predict(classifier, Files((files.paths[2],)))
    assert only.refused is not None and classifier.batches == []
