"""The recipe cifar10-hog-svm: the number of values, and a fit of a small set."""

from pathlib import Path

import numpy as np
import pytest

from imclass.app.cli.main import main
from imclass.pipelines.parts.flatten import Flatten
from imclass.pipelines.parts.hog import Hog
from imclass.recipes.cifar10_hog import cifar10_hog_svm
from tests.support.small import tree


def test_an_image_has_1_800_values() -> None:
    part = cifar10_hog_svm().parts[0]
    assert isinstance(part, Hog) and isinstance(cifar10_hog_svm().parts[1], Flatten)
    found = part.transform([np.zeros((32, 32, 3), np.uint8)])
    assert found.values.shape == (25, 72)


@pytest.mark.slow
def test_a_small_set_is_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMCLASS_STORE", "store")
    tree(tmp_path / "pets", 10, side=32)
    assert main(["train", "cifar10-hog-svm", "--data", "pets", "--out", "run"]) == 0
    assert (tmp_path / "run" / "model.safetensors").is_file()
