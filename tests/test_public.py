"""The Python face of the package."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import imclass
from imclass.app.api import train
from imclass.training import events
from tests.support.small import tree


def test_the_verbs_are_names_of_the_package() -> None:
    assert imclass.train is train
    assert imclass.Evaluated is events.Evaluated
    assert {"train", "load", "create"} <= set(dir(imclass))


@pytest.mark.parametrize("name", sorted(imclass.HOMES))
def test_no_room_hides_a_verb(name: str) -> None:
    """A room called as a verb would take its name once it is imported: rooms are nouns."""
    assert importlib.util.find_spec(f"imclass.{name}") is None


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import imclass, sys; assert not {'torch', 'numpy'} & set(sys.modules); assert callable(imclass.train)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        imclass.trian  # type: ignore[attr-defined]  # noqa: B018


def test_create_predicts_named_classes() -> None:
    classifier = imclass.create("lenet-5", classes=["a", "b", "c"])
    found = classifier.predict([np.zeros((28, 28, 1), np.uint8), np.full((40, 50, 3), 200, np.uint8)], top=5)
    assert [len(row) for row in found] == [3, 3] and {name for name, _ in found[1]} == {"a", "b", "c"}
    assert sum(p for _, p in found[0]) == pytest.approx(1, rel=1e-5)


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "home" / "pets")
    list(imclass.train("mnist-lenet", "~/run", data="~/pets", epochs=1, batch=8))
    assert (tmp_path / "home" / "run" / "model.safetensors").is_file() and not Path("~").exists()
    assert imclass.load("~/run").classes == ("cat", "dog")
