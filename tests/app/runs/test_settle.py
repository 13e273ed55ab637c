"""A run's runtime: the recorded one, else the configured one, else the result of a probe."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from imclass.app.api import configure
from imclass.app.runs import settle as settling
from imclass.app.runs.directory import Run
from imclass.app.runs.settle import choose_runtime, describe_trials
from imclass.app.runs.train import prepare
from imclass.core.config import Training
from imclass.core.errors import UserError
from imclass.core.runtime import DEFAULT_ARITHMETIC, Arithmetic, Runtime
from imclass.data.loader import Loader
from imclass.models.arithmetic.precision import Trial
from imclass.models.classifier import NetworkClassifier
from imclass.store.context import open_context
from tests.support.small import tree

FAST = Arithmetic("bf16", "nhwc")


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Training, NetworkClassifier, Loader]:
    """Return a config that leaves the precision open, its network, and its training images."""
    config = configure("mnist-lenet", data=str(tree(tmp_path / "pets")), batch=8, precision="auto", device="cpu")
    leg = prepare(config, Run(tmp_path / "run"), open_context(), dry=True).legs[0]
    return config, leg.make(), leg.loader


def test_a_recorded_runtime_is_used_without_a_probe(
    parts: tuple[Training, NetworkClassifier, Loader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling.precision, "probe", lambda *_: pytest.fail("it was probed"))
    config, classifier, loader = parts
    recorded = Runtime("cpu", 3, FAST)
    assert choose_runtime(config, recorded, classifier, loader) == (recorded, ())
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="cuda"):
            choose_runtime(config, replace(recorded, device="cuda"), classifier, loader)


@pytest.mark.parametrize(("precision", "arithmetic"), [("fp32", DEFAULT_ARITHMETIC), ("bf16", FAST)])
def test_a_configured_precision_is_used_without_a_probe(
    precision: str,
    arithmetic: Arithmetic,
    parts: tuple[Training, NetworkClassifier, Loader],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling.precision, "probe", lambda *_: pytest.fail("it was probed"))
    config, classifier, loader = parts
    used, notes = choose_runtime(replace(config, precision=precision), None, classifier, loader)  # type: ignore[arg-type]
    assert used.arithmetic == arithmetic and used.device == "cpu" and notes == ()


def test_a_probe_runs_on_copies_and_its_trials_are_described(
    parts: tuple[Training, NetworkClassifier, Loader], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, classifier, loader = parts
    trials = [Trial(DEFAULT_ARITHMETIC, 0.5, 0.0), Trial(FAST, 0.25, 0.002)]
    probed = []

    def probe(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[Arithmetic, list[Trial]]:
        probed.append((network, len(images), len(labels)))
        return FAST, trials

    monkeypatch.setattr(settling.precision, "probe", probe)
    used, (note,) = choose_runtime(config, None, classifier, loader)
    assert used.arithmetic == FAST
    ((network, images, labels),) = probed
    assert network is not classifier.network and images == labels == 8
    assert note == f"{FAST} was chosen for this network: {describe_trials(trials, 8)}"
    assert describe_trials(trials, 8) == (
        f"{DEFAULT_ARITHMETIC} 16 images/s, scores within 0; {FAST} 32 images/s, scores within 0.002"
    )
