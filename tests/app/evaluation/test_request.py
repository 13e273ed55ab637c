"""Requests: models by name as a user may give them; impossible options are refused before a model is loaded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imclass
from imclass.app.evaluation import request as requests
from imclass.app.evaluation.request import models_by_name
from imclass.core.contracts import Origin
from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.data.arrays import ArrayDataset
from imclass.data.catalog import open_split
from imclass.evaluation.request import Request, SilentProgress, parse_scales, select_protocols
from imclass.evaluation.score import evaluate, view_protocols
from imclass.models.classifier import load_network_classifier
from imclass.store.context import open_context
from tests.support.small import CLASSES, save_untrained, tree


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with two models and a folder of photos that has splits."""
    monkeypatch.chdir(tmp_path)
    for split, n in (("train", 2), ("validation", 4), ("test", 6)):
        tree(tmp_path / "pets" / split, per_class=n)
    for name in "ab":
        save_untrained(tmp_path / f"{name}.safetensors")
    return tmp_path


def arrays(n: int = 6, split: str = "test") -> ArrayDataset:
    """Return a user's arrays: N x 28 x 28 x 1 pixels and a label each."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, 28, 28, 1), dtype=np.uint8)
    return ArrayDataset(
        pixels, OneOf(np.arange(n) % 2), CLASSES, (split,), split, Origin("mine", "memory", "published")
    )


def test_models_are_paths_or_classifiers(place: Path) -> None:
    classifier, other = load_network_classifier("a.safetensors"), load_network_classifier("b.safetensors")
    assert list(models_by_name("a.safetensors")) == ["a.safetensors"]
    assert list(models_by_name(Path("~/run"))) == [str(Path("~/run").expanduser())]
    assert models_by_name([classifier, "b.safetensors", other]) == {
        "lenet-5": classifier, "b.safetensors": Path("b.safetensors"), "lenet-5 2": other,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "specify a MODEL"),
        (["a", "./a"], "a is given twice"),
        ([3], "3 is not a model; pass a path"),
        ([None], "None is not a model"),
    ],
)
def test_things_that_are_not_models_are_refused(models: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        models_by_name(models)


def test_a_classifier_given_twice_is_refused(place: Path) -> None:
    classifier = load_network_classifier("a.safetensors")
    with pytest.raises(UserError, match="given twice"):
        models_by_name([classifier, classifier])


def test_data_may_be_a_dataset(place: Path) -> None:
    classifier = load_network_classifier("a.safetensors")
    result = imclass.evaluate(classifier, arrays())
    np.testing.assert_allclose(result.evaluation.scores, evaluate(classifier, arrays()).scores, rtol=1e-5)
    assert result.rows[0].facts.scope == "split test of mine" and result.rows[0].name == "lenet-5"
    named_split = imclass.evaluate("a.safetensors", open_split("pets", "test", open_context()))
    assert named_split.measures == imclass.evaluate("a.safetensors", "pets").measures


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another split": ({"data": arrays(), "split": "train"}, "the data is the split 'test'"),
    "to fit": ({"data": arrays(), "temperature": True}, "a validation split is needed for --temperature"),
    "workers": ({"data": "pets", "workers": -1}, "--workers is -1"),
    "batch": ({"data": "pets", "batch": 0}, "--batch is 0"),
    "device": ({"data": "pets", "device": "tpu"}, "--device tpu is not a device"),
    "protocol": ({"data": "pets", "protocol": ["flip", "centre"]}, "did you mean 'center'"),
    "scales": ({"data": "pets", "protocol": "dense", "scales": "28;32"}, "whole numbers of pixels"),
    "rows": ({"data": "pets", "protocol": "flip,center", "temperature": True}, "--temperature needs a single result"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_found_before_a_model_is_loaded(case: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "read_packed", lambda *_: pytest.fail("a model was loaded"))
    options, message = WRONG[case]
    with pytest.raises(UserError, match=message):
        imclass.evaluate("a.safetensors", **options)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("trained", "no", "--trained is 'no'; it must be leave-out or include"),
        ("weights", "even", "--weights is 'even'; it must be mean, fit or none"),
        ("precision", "fp16", "fp32 or bf16"),
    ],
)
def test_unknown_choices_are_refused(key: str, value: Any, message: str) -> None:
    request = Request(models={}, saved=(), order=("a",), protocols={"": None})
    request.check()
    with pytest.raises(UserError, match=message):
        replace(request, **{key: value}).check()


def test_a_classifier_in_memory_is_not_rounded(place: Path) -> None:
    with pytest.raises(
        UserError, match="precision bf16 needs a model that is loaded from a file; pass the model's path"
    ):
        imclass.evaluate(load_network_classifier("a.safetensors"), "pets", precision="bf16")


def test_protocols_are_names_or_values() -> None:
    found = view_protocols()
    assert select_protocols(None, None) == {"": None}
    assert list(select_protocols("center,flip", None)) == ["center", "flip"]
    assert select_protocols(["center", found["flip"]], None) == {"center": found["center"], "flip": found["flip"]}
    (scaled,) = select_protocols(found["dense"], (28, 32)).values()
    assert scaled == next(iter(select_protocols("dense", "28,32").values())) != found["dense"]
    for names in ("flip,flip", ["flip", found["flip"]]):
        with pytest.raises(UserError, match="--protocol flip,flip lists a protocol twice"):
            select_protocols(names, None)


def test_scales_are_words_or_numbers() -> None:
    assert parse_scales("256,384") == parse_scales([256, 384]) == (256, 384)
    for wrong in ("", "256,", [1.5], []):
        with pytest.raises(UserError, match="whole numbers of pixels"):
            parse_scales(wrong)


def test_bare_arrays_are_refused_as_data() -> None:
    with pytest.raises(UserError, match="the data has the type tuple; pass a data set's name, a folder"):
        requests.open_request("a", (np.zeros(4), np.zeros(4)), None, None, open_context(), SilentProgress())
