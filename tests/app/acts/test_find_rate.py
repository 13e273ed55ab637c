"""The test of learning rates: its losses are those of a plain loop, and it leaves a run and its weights unchanged."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from imclass.app.acts import find_rate
from imclass.app.acts.find_rate import HIGHEST, LOWEST, RateTest, measure_rates, rates_text
from imclass.app.api import configure
from imclass.app.cli.main import main
from imclass.app.runs.directory import Run
from imclass.app.runs.train import Job, prepare
from imclass.store.context import open_context
from imclass.training.optimisers.sgd import SGD
from tests.support.command import json_output
from tests.support.small import digest, fingerprint, save_untrained, tree

WORDS = shlex.split("train mnist-lenet --data pets --batch 8 --epochs 1 --device cpu --precision fp32")


class Watcher:
    """A consumer that counts the events and notes whether it was closed."""

    def __init__(self) -> None:
        self.seen, self.closed = 0, False

    def see(self, event: object) -> None:
        self.seen += 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(find_rate, "STEPS", 30)
    tree(tmp_path / "pets")
    return tmp_path


def job_of(place: Path, **choices: Any) -> Job:
    how: dict[str, Any] = {"data": "pets", "batch": 8, "device": "cpu"} | choices
    config = configure("mnist-lenet", **how)
    return prepare(config, Run(place / "run"), open_context(), writes=False)


def test_the_losses_are_those_of_a_plain_loop(place: Path) -> None:
    job, watcher = job_of(place, augment=()), Watcher()
    leg = job.legs[0]
    before = {name: tensor.clone() for name, tensor in leg.make().network.state_dict().items()}
    random, state = torch.get_rng_state(), leg.make().network.training
    found = measure_rates(job, watcher)
    assert all(torch.equal(tensor, before[name]) for name, tensor in leg.make().network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random) and leg.make().network.training is state
    assert (
        watcher.closed and watcher.seen == len(found.rates) + -(-len(found.rates) // 2) and not job.run.folder.exists()
    )

    network = replace(leg, premade=None).make().network.train()
    sgd = leg.stage.optimiser
    assert isinstance(sgd, SGD)
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0, momentum=sgd.momentum, weight_decay=sgd.weight_decay)
    losses: list[float] = []
    rates = np.geomspace(LOWEST, HIGHEST, 30).tolist()
    batches = (batch for epoch in range(15) for batch in leg.loader.batches(epoch))
    for rate, batch in zip(rates, batches, strict=True):
        part = batch.parts[0]
        loss = functional.cross_entropy(network(part.images), torch.as_tensor(part.targets.numpy()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()
        losses.append(loss.item())
    count = len(found.losses)
    assert found.rates == pytest.approx(rates[:count]) and found.losses == pytest.approx(losses[:count], rel=1e-3)
    weights: list[Any] = [0.9 ** np.arange(k, -1, -1) for k in range(count)]
    means = [np.average(losses[: k + 1], weights=weights[k]) for k in range(count)]
    assert found.smoothed == pytest.approx(means, rel=1e-3)


def test_a_loss_that_rises_or_is_not_finite_ends_the_test(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_rate, "DIVERGED", 0.0)
    found = measure_rates(job_of(place), Watcher())
    assert len(found.losses) == 1 and found.ended == "because the loss had risen"
    monkeypatch.setattr(find_rate, "DIVERGED", 1e30)
    monkeypatch.setattr(find_rate, "HIGHEST", 1e30)
    found = measure_rates(job_of(place, nonfinite="skip"), Watcher())
    assert 1 < len(found.losses) < 30 and "not finite" in found.ended


def test_a_rate_is_suggested_only_if_the_loss_fell() -> None:
    rates = [1e-3, 1e-2, 0.1, 0.35, 1.0]
    learned = RateTest(rates, [], [2.0, 1.9, 1.0, 0.5, 3.0], "at the highest rate")
    assert (learned.lowest, learned.suggested) == (3, 0.035)
    not_learned = RateTest(rates, [], [2.0, 1.99, 2.0, 2.1, 3.0], "at the highest rate")
    assert not_learned.suggested is None
    text = rates_text(not_learned, configure("mnist-lenet"), Path("a-rate.png"))
    assert "suggestion: none, because the loss did not fall\npicture: a-rate.png" in text
    chain = rates_text(learned, configure("imagenet-vgg", data="pets"), Path("a-rate.png"))
    assert "--stages.0.schedule.rate 0.035, a tenth of this rate; the config has 0.01" in chain


def test_a_run_is_the_same_after_a_test_of_rates(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--out", "before"]) == 0
    content = fingerprint(place / "before")
    capsys.readouterr()
    other = [*WORDS[:4], "--batch", "4", *WORDS[6:], "--out", "before", "--find-rate"]  # another config than the run's
    found = json_output(capsys, *other)
    assert found["picture"] == "before-rate.png" and Path("before-rate.png").read_bytes().startswith(b"\x89PNG")
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"]) > 1
    assert main(other) == 0  # the picture is replaced
    assert "suggestion: " in capsys.readouterr().out
    assert fingerprint(place / "before") == content
    assert main([*WORDS, "--out", "runs/after", "--find-rate"]) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["after-rate.png"]
    assert main([*WORDS, "--out", "runs/after"]) == 0
    assert digest(place / "runs" / "after") == digest(place / "before")


def test_a_test_of_rates_that_cannot_be_made_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_untrained(place / "mine.safetensors")
    (place / "notes-rate.png").write_text("not a picture of ours")
    probe = shlex.split("train finetune --data pets --init mine.safetensors --find-rate")
    for words, problem in (
        ([*WORDS, "--find-rate", "--dry-run"], "--find-rate is used without --dry-run; leave out one of the two"),
        (
            [*WORDS, "--find-rate", "--crossval", "2"],
            "--find-rate is used without --crossval; leave out one of the two",
        ),
        (probe, "a solver fits that stage, and it has no rate"),
        ([*WORDS, "--find-rate", "--out", "notes"], "--find-rate: notes-rate.png already exists"),
        ([*WORDS, "--find-rate", "--find-rates"], "--find-rates"),
        ([*WORDS, "--find-rate", "--out", "."], "--out . has no name for the picture"),
        ([*WORDS, "--find-rate", "--out", "pets/cat/run"], "is in the folder with the images of class 'cat'"),
        ([*WORDS, "--find-rate", "--out", "pets/new/run"], "pets/new/run-rate.png would be read as an image of"),
    ):
        assert main(words) == 2
        assert problem in capsys.readouterr().err
    assert (place / "notes-rate.png").read_text() == "not a picture of ours" and not (place / "runs").exists()
    assert not list((place / "pets").rglob("*rate.png")) and not (place / "pets" / "new").exists()


def test_a_step_without_readable_images_has_no_loss(place: Path) -> None:
    for file in [*sorted((place / "pets" / "cat").iterdir())[:3], *sorted((place / "pets" / "dog").iterdir())[:3]]:
        file.write_bytes(file.read_bytes()[:60])
    found = measure_rates(job_of(place, batch=1, augment=()), Watcher())
    assert len(found.losses) < 30 and min(found.losses) > 0 and 0 < len(found.refused) <= 6
    assert main([*WORDS, "--find-rate"]) == 1
