"""Colours of the training images are kept with the run and in its model. Runs that begin from the model use them."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from imclass.app.api import configure
from imclass.app.cli.main import main
from imclass.app.draw import curves
from imclass.app.runs.directory import Run
from imclass.app.runs.train import DEFAULT_EXECUTION, prepare
from imclass.core.config import Execution, Model
from imclass.core.model_file import Provenance
from imclass.core.preprocess import Preprocess
from imclass.models.classifier import create
from imclass.store.context import open_context
from tests.support.small import provenance, tree

WORDS = ["train", "mnist-lenet", "--data", "pets", "--batch", "8", "--epochs", "1", "--preprocess.colour", "rgb"]
VIEW = Preprocess(28, "rgb", "squash")
COLOURS: tuple[tuple[float, ...], ...] = ((0.1, 0.2, 0.05), (0.02, 0.0, -0.02), (0.001, -0.002, 0.001))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with photos and a model with colours."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets")
    found = create(Model("lenet-5"), ("cat", "dog"), VIEW)
    measured = {"pca-colour": COLOURS}
    replace(found, trained=Provenance(measured=measured)).save(tmp_path / "old.safetensors")
    return tmp_path


def training_pixels() -> np.ndarray:
    """Return the training pixels of the photos, N C, in [0, 1]."""
    job = prepare_run()
    data = job.legs[0].loader.dataset
    return np.concatenate([job.config.preprocess(data[i]).reshape(-1, 3) for i in range(len(data))]) / 255


def prepare_run(execution: Execution = DEFAULT_EXECUTION, **choices: Any) -> Any:
    changes = {"preprocess.colour": "rgb", "augment": ("pca-colour",)} | choices.pop("override", {})
    config = configure("mnist-lenet", data="pets", batch=8, epochs=1, override=changes, **choices)
    return prepare(config, Run(Path("run").absolute()), open_context(), execution)


def colours_of(job: Any) -> np.ndarray:
    """Return the scaled eigenvectors with which a run augments its images."""
    found: np.ndarray = job.legs[0].loader.augment[0].measured
    return found


def test_a_run_keeps_means_and_colours_of_its_training_pixels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "curves_png", lambda history, path, parts: path.write_bytes(b""))
    words = [*WORDS, "--model.mean-colour", "--augment", "pca-colour", "colour-jitter", "trivial", "erase"]
    words += [
        "--augment.pca-colour.deviation",
        "0.2",
        "--augment.colour-jitter.saturation",
        "0.3",
        "--no-pictures",
        "--out",
        "first",
    ]
    assert main(words) == 0
    facts = safetensors.torch.load_file("first/facts.safetensors")
    assert [re.sub(r"\.\w{8}$", "", name) for name in sorted(facts)] == ["mean_colour", "pca-colour"]
    mean, colours = (facts[name].double().numpy() for name in sorted(facts))
    pixels = training_pixels()
    values = np.linalg.norm(colours, axis=1)
    plain = np.cov(pixels.T, bias=True)
    assert np.allclose(mean.ravel(), pixels.mean(0), rtol=1e-6)
    assert np.isclose(values.sum(), np.trace(plain), rtol=1e-6)
    assert np.allclose(colours.T @ np.diag(1 / values) @ colours, plain, rtol=0, atol=1e-6 * values[0])
    assert provenance(Path("first")).measured == {"pca-colour": tuple(map(tuple, colours.tolist()))}


def test_workers_and_memory_change_no_bit_of_the_facts(folder: Path) -> None:
    found = []
    for execution in (Execution(workers=0, memory=0), Execution(workers=2, memory=0), Execution(workers=0)):
        prepare_run(execution=execution, override={"model.mean_colour": True})
        found.append(Path("run/facts.safetensors").read_bytes())
        Path("run").rename(f"run-{len(found)}")
    assert found[0] == found[1] == found[2]


def test_a_run_from_a_model_uses_the_models_colours(folder: Path) -> None:
    job = prepare_run(init="old.safetensors")
    assert np.array_equal(colours_of(job), np.array(COLOURS, np.float32))
    assert np.allclose(job.legs[0].trained.measured["pca-colour"], COLOURS, rtol=1e-7)
    assert np.array_equal(
        colours_of(prepare_run(init="old.safetensors")), np.array(COLOURS, np.float32)
    )  # from the run's facts


@pytest.mark.parametrize("other", [{"preprocess.channels": "bgr"}, {"preprocess.resize": "shorter"}])
def test_the_models_colours_serve_another_preprocess(other: dict[str, Any], folder: Path) -> None:
    job = prepare_run(init="old.safetensors", override=other)
    assert np.array_equal(colours_of(job), np.array(COLOURS, np.float32))


def test_colours_of_other_channels_are_computed(folder: Path) -> None:
    grey = {"preprocess.colour": "grey", "model.mean": (0.5,), "model.std": (1.0,), "begin": "fresh"}
    job = prepare_run(init="old.safetensors", override=grey)
    assert colours_of(job).shape == (1, 1) and colours_of(job) > 0


def test_colours_do_not_depend_on_the_order_of_the_channels(folder: Path) -> None:
    rgb = colours_of(prepare_run())
    (folder / "run").rename(folder / "rgb")
    assert np.array_equal(colours_of(prepare_run(override={"preprocess.channels": "bgr"})), rgb)


def test_a_run_without_the_augmentation_has_no_colours(folder: Path) -> None:
    job = prepare_run(init="old.safetensors", override={"augment": ("flip",)})
    assert job.legs[0].trained.measured == {} and not Path("run/facts.safetensors").exists()


def test_a_dry_run_computes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imclass.app.runs.train.facts_of", lambda *_: pytest.fail("computed"))
    assert main([*WORDS, "--augment", "pca-colour", "--model.mean-colour", "--out", "dry", "--dry-run"]) == 0
    assert not Path("dry").exists()


def test_legs_of_one_preprocess_share_their_colours(folder: Path) -> None:
    config = configure("mnist-lenet", data="pets", override={"preprocess.colour": "rgb", "augment": ("pca-colour",)})
    (stage,) = config.stages
    smaller = replace(config.preprocess, size=24)
    stages = (stage, replace(stage, name="second"), replace(stage, name="third", preprocess=smaller, begin="fresh"))
    stages = (*stages[:2], replace(stages[2], model=replace(config.model, row={"size": 24})))
    job = prepare(replace(config, stages=stages), Run(Path("run").absolute()), open_context())
    first, second, third = (leg.loader.augment[0].measured for leg in job.legs)  # type: ignore[attr-defined]
    assert np.array_equal(first, second) and not np.array_equal(first, third)
    assert len(safetensors.torch.load_file("run/facts.safetensors")) == 2
    assert torch.equal(torch.from_numpy(third), torch.tensor(job.legs[2].trained.measured["pca-colour"]))
