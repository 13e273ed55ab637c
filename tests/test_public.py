"""The public Python interface of the package."""

import importlib.util
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import imclass
from imclass.app.api import train
from imclass.app.argument_checks import check_consumers, check_names
from imclass.core.errors import UserError
from imclass.models.scores import top_classes
from imclass.training import events
from tests.support.small import picture, save_untrained, tree


def test_the_verbs_are_names_of_the_package() -> None:
    assert imclass.train is train
    assert imclass.Evaluated is events.Evaluated
    assert {"train", "load", "create"} <= set(dir(imclass))


@pytest.mark.parametrize("name", sorted(imclass.HOMES))
def test_no_room_hides_a_verb(name: str) -> None:
    """Check that rooms are not named like verbs, because importing a room would replace the function."""
    assert importlib.util.find_spec(f"imclass.{name}") is None


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import imclass, sys; assert not {'torch', 'numpy'} & set(sys.modules); assert callable(imclass.train)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        imclass.trian  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("top", [-1, 0, 1.5, "1"])
def test_a_number_of_classes_is_at_least_one(top: object) -> None:
    with pytest.raises(UserError, match=r"top is .*; it must be a whole number of classes, at least 1"):
        top_classes(torch.zeros(1, 3), "abc", top)
    assert len(top_classes(torch.zeros(1, 3), "abc", np.int64(2))[0]) == 2


def test_paths_and_strings_are_both_accepted(tmp_path: Path) -> None:
    pets = tree(tmp_path / "pets", per_class=4)
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for kind in (str, Path):  # the second time the run is finished
        places = {"data": kind(pets), "plugins": kind(plugins), "store": kind(tmp_path / "store")}
        list(imclass.train("mnist-lenet", kind(tmp_path / "run"), batch=4, epochs=1, **places))
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_an_invalid_consumer_is_refused_before_the_first_event(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r".* is not a consumer; it must have the methods see\(event\) and close\(\)"):
        check_consumers([print])


def test_a_string_is_not_accepted_as_a_list_of_classes() -> None:
    with pytest.raises(UserError, match="the classes are 'ab'; pass"):
        imclass.create("lenet-5", "ab")


def test_create_makes_a_classifier_of_several_labels(tmp_path: Path) -> None:
    classifier = imclass.create("lenet-5", ["a", "b", "c"], link="sigmoid")
    images = [np.full((28, 28, 1), level, np.uint8) for level in (0, 255)]
    chances = torch.sigmoid(classifier.classify(images).double())
    for row, found in zip(chances.tolist(), imclass.predict(classifier, images, top=3), strict=True):
        assert dict(found.classes) == pytest.approx(dict(zip("abc", row, strict=True)), rel=1e-6)
    assert [len(p.classes) for p in imclass.predict(classifier, images)] == (chances >= 0.5).sum(1).tolist()
    replace(classifier, thresholds=(0.0, 0.0, 1.0)).save(tmp_path / "m.safetensors")
    again = imclass.load(tmp_path / "m.safetensors")
    assert (again.link, again.thresholds) == ("sigmoid", (0.0, 0.0, 1.0))
    assert [len(p.classes) for p in imclass.predict(again, images)] == [2, 2]
    replace(classifier, thresholds=(0.5,)).save(tmp_path / "m.safetensors")
    with pytest.raises(UserError, match=r"m\.safetensors has 1 thresholds for 3 classes"):
        imclass.load(tmp_path / "m.safetensors")
    with pytest.raises(UserError, match="the link is 'sigmiod'; it must be softmax, or sigmoid"):
        imclass.create("lenet-5", ["a", "b"], link="sigmiod")


def test_create_predicts_named_classes() -> None:
    classifier = imclass.create("lenet-5", classes=["a", "b", "c"], seed=3)
    images = [np.zeros((28, 28, 1), np.uint8), np.full((40, 50, 3), 200, np.uint8)]
    found = list(imclass.predict(classifier, images, top=5))
    assert [len(p.classes) for p in found] == [3, 3] and {name for name, _ in found[1].classes} == {"a", "b", "c"}
    chances = classifier.classify(images).double().softmax(1).numpy()
    for prediction, row in zip(found, chances, strict=True):
        assert [p for _, p in prediction.classes] == pytest.approx(sorted(row, reverse=True), rel=1e-5)
        assert [name for name, _ in prediction.classes] == ["abc"[k] for k in np.argsort(-row)]


def test_predict_accepts_the_path_of_a_model_and_a_protocol(tmp_path: Path) -> None:
    classifier = save_untrained(tmp_path / "model.safetensors")
    wide = np.concatenate([picture(1), picture(2, True), picture(3)], axis=1)
    squashed, central = (
        next(iter(imclass.predict(tmp_path / "model.safetensors", wide, protocol=protocol))).classes
        for protocol in ("resize", "center")
    )
    assert next(iter(imclass.predict(classifier, wide))).classes == squashed != central
    (bad,) = imclass.predict(classifier, ["x.jpg"])
    assert bad.refused is not None and bad.refused.code == "missing"
    (large,) = imclass.predict(classifier, wide_png(wide), max_megapixels=1e-4)
    assert large.refused is not None and "--max-megapixels above 0.0001" in large.refused.detail
    with pytest.raises(UserError, match="did you mean 'center'"):
        imclass.predict(classifier, wide, protocol="centre")
    with pytest.raises(UserError, match=r"--max-megapixels is 0\.0; it must be a number above 0"):
        imclass.predict(classifier, wide, max_megapixels=0.0)


def wide_png(levels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    return file.getvalue()


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "home" / "pets")
    list(imclass.train("mnist-lenet", "~/run", data="~/pets", epochs=1, batch=8))
    assert (tmp_path / "home" / "run" / "model.safetensors").is_file() and not Path("~").exists()
    assert imclass.load("~/run").classes == ("cat", "dog")


@pytest.mark.parametrize("classes", ["cat", 10, None])
def test_classes_must_be_given_by_name(classes: object) -> None:
    with pytest.raises(UserError, match="pass their names as a list"):
        check_names(classes)


@pytest.mark.parametrize(("key", "answer"), [("lr", "--schedule.rate"), ("batch_size", "--batch"), ("imgsz", "--pre")])
def test_python_gets_the_same_suggestions_as_the_command_line(key: str, answer: str) -> None:
    with pytest.raises(UserError, match=answer):
        imclass.configure("mnist-lenet", **{key: 1})


def test_a_run_stays_where_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the working folder between two events, as a notebook may; paths still refer to the old one."""
    tree(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    events = imclass.train("mnist-lenet", "run", data="pets", batch=8, epochs=1, memory=0, workers=0)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    ends = [event for event in events if isinstance(event, imclass.EpochEnd)]
    assert [end.refused for end in ends] == [0] and (tmp_path / "run/model.safetensors").is_file()
    assert not any((tmp_path / "other").iterdir())
