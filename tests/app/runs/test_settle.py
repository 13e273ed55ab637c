"""A run's runtime: the recorded one, else the configured one, else the result of a probe."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from imclass.app.api import configure, train
from imclass.app.runs import settle as settling
from imclass.app.runs.directory import Run
from imclass.app.runs.settle import choose_runtime, configured_runtime, describe_trials
from imclass.app.runs.train import prepare
from imclass.core.config import Training
from imclass.core.errors import UserError
from imclass.core.runtime import DEFAULT_ARITHMETIC, Arithmetic, Runtime
from imclass.models.arithmetic.precision import Trial
from imclass.store.context import open_context
from imclass.training.events import FeatureBatch
from imclass.training.plan import Leg
from tests.support.small import digest, save_untrained, tree

FAST = Arithmetic("bf16", "nhwc")


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Training, Leg]:
    """Return a config that leaves the precision open, and its first leg."""
    config = configure("mnist-lenet", data=str(tree(tmp_path / "pets")), batch=8, precision="auto", device="cpu")
    leg = prepare(config, Run(tmp_path / "run"), open_context(), dry=True).legs[0]
    return config, leg


def test_a_recorded_runtime_is_used_without_a_probe(
    parts: tuple[Training, Leg], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling.precision, "probe", lambda *_: pytest.fail("it was probed"))
    config, leg = parts
    recorded = Runtime("cpu", 3, FAST)
    assert choose_runtime(config, recorded, leg) == (recorded, ())
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="cuda"):
            choose_runtime(config, replace(recorded, device="cuda"), leg)


@pytest.mark.parametrize(("precision", "arithmetic"), [("fp32", DEFAULT_ARITHMETIC), ("bf16", FAST)])
def test_a_configured_precision_is_used_without_a_probe(
    precision: str,
    arithmetic: Arithmetic,
    parts: tuple[Training, Leg],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling.precision, "probe", lambda *_: pytest.fail("it was probed"))
    config, leg = parts
    used, notes = choose_runtime(replace(config, precision=precision), None, leg)  # type: ignore[arg-type]
    assert used.arithmetic == arithmetic and used.device == "cpu" and notes == ()


def test_a_probe_runs_on_copies_and_its_trials_are_described(
    parts: tuple[Training, Leg], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, leg = parts
    trials = [Trial(DEFAULT_ARITHMETIC, 0.5, 0.0), Trial(FAST, 0.25, 0.002)]
    probed = []

    def probe(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[Arithmetic, list[Trial]]:
        probed.append((network, len(images), len(labels)))
        return FAST, trials

    monkeypatch.setattr(settling.precision, "probe", probe)
    used, (note,) = choose_runtime(config, None, leg)
    assert used.arithmetic == FAST
    ((network, images, labels),) = probed
    assert network is not leg.make().network and images == labels == 8
    assert note == f"{FAST} was chosen for this network: {describe_trials(trials, 8)}"
    assert describe_trials(trials, 8) == (
        f"{DEFAULT_ARITHMETIC} 16 images/s, scores within 0; {FAST} 32 images/s, scores within 0.002"
    )


@pytest.fixture
def solver_leg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Training, Leg]:
    """Return a config that only fits a solver and leaves the precision open, and its leg."""
    monkeypatch.setattr(settling, "MIN_PROBED_IMAGES", 2)
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path / "store"))
    save_untrained(tmp_path / "mine.safetensors")
    pets, init = str(tree(tmp_path / "pets")), str(tmp_path / "mine.safetensors")
    config = configure("probe", data=pets, init=init, device="cpu")
    return config, prepare(config, Run(tmp_path / "run"), open_context(), dry=True).legs[0]


def test_a_run_that_only_fits_a_solver_measures_forward_passes(
    solver_leg: tuple[Training, Leg], monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = []

    def probe(network: torch.nn.Module, *measured: Any) -> tuple[Arithmetic, tuple[Trial, ...]]:
        probed.append(measured)
        return FAST, ()

    monkeypatch.setattr(settling.precision, "probe", probe)
    config, leg = solver_leg
    assert choose_runtime(config, None, leg)[0].arithmetic == FAST
    ((images, labels),) = probed
    assert len(images) == settling.FORWARD_PROBE_IMAGES and labels is None
    twice = replace(config, stages=(config.stages[0], configure("finetune", init=config.init).stages[1]))
    choose_runtime(twice, None, leg)
    assert len(probed[1][0]) == settling.SOLVER_PROBE_IMAGES and probed[1][1] is not None  # gradients are needed later


def test_few_images_for_a_solver_are_not_worth_a_probe(
    solver_leg: tuple[Training, Leg], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "MIN_PROBED_IMAGES", 17)
    monkeypatch.setattr(settling.precision, "probe", lambda *_: pytest.fail("it was probed"))
    config, leg = solver_leg
    assert len(leg.loader.dataset) == 16
    assert choose_runtime(config, None, leg) == (
        replace(configured_runtime(config), arithmetic=Arithmetic("fp32", "nhwc")),
        (),
    )


@pytest.mark.parametrize("arithmetic", [DEFAULT_ARITHMETIC, FAST])
def test_stored_features_decide_the_arithmetic(
    arithmetic: Arithmetic, solver_leg: tuple[Training, Leg], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, leg = solver_leg
    monkeypatch.setattr(settling.precision, "probe", lambda *_: (arithmetic, ()))
    first = [event for event in train(config, tmp_path / "first") if isinstance(event, FeatureBatch)]
    assert sum(event.images for event in first) == 16
    monkeypatch.setattr(settling.precision, "probe", lambda *_: pytest.fail("it was probed"))
    used, (note,) = choose_runtime(config, None, leg)
    assert used.arithmetic == arithmetic and note == f"{arithmetic} was chosen because the store has such features"
    assert not [event for event in train(config, tmp_path / "second") if isinstance(event, FeatureBatch)]
    assert digest(tmp_path / "first") == digest(tmp_path / "second")
    monkeypatch.setattr(settling.precision, "MAX_DIFFERENCE", -1.0)  # the scores of such an arithmetic are wrong
    with pytest.raises(pytest.fail.Exception):
        choose_runtime(config, None, leg)
