"""The Python face of the package."""

import subprocess
import sys

import numpy as np
import pytest

import imclass
from imclass.app.train import train
from imclass.models.classifier import create
from imclass.train import events, loop


def test_the_verb_is_not_hidden_by_the_room_of_its_name() -> None:
    assert getattr(imclass, "train") is train  # noqa: B009
    assert loop.__name__ == "imclass.train.loop"
    assert getattr(imclass, "Evaluated") is events.Evaluated  # noqa: B009
    assert {"train", "load", "create"} <= set(dir(imclass))


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import imclass, sys; assert not {'torch', 'numpy'} & set(sys.modules); assert callable(imclass.train)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        imclass.trian  # type: ignore[attr-defined]  # noqa: B018


def test_create_predicts_named_classes() -> None:
    classifier = create("lenet-5", classes=["a", "b", "c"])
    found = classifier.predict([np.zeros((28, 28, 1), np.uint8), np.full((40, 50, 3), 200, np.uint8)], top=5)
    assert [len(row) for row in found] == [3, 3] and {name for name, _ in found[1]} == {"a", "b", "c"}
    assert sum(p for _, p in found[0]) == pytest.approx(1, rel=1e-5)
