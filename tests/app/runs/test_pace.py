"""Measuring a leg changes nothing that training uses, and times combine by how loading and computing overlap."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from imclass.app.api import configure, train
from imclass.app.runs import pace
from imclass.app.runs.directory import Run
from imclass.app.runs.pace import Pace, combine_seconds, load_sample, measure_pace, median_seconds, spaced_images
from imclass.app.runs.train import DEFAULT_EXECUTION, prepare, score_images
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.runtime import Runtime
from imclass.models.classifier import NetworkClassifier
from imclass.store.context import open_context
from imclass.training.plan import Leg
from imclass.training.state import State
from tests.support.small import digest, tree

USED = Runtime("cpu", torch.get_num_threads())


def leg_of(tmp_path: Path, **choices: Any) -> Leg:
    """Return the first leg of a run on 16 small images."""
    config = configure("mnist-lenet", data=str(tree(tmp_path / "pets")), batch=8, device="cpu", **choices)
    return prepare(config, Run(tmp_path / "run"), open_context(), dry=True).legs[0]


def test_measuring_changes_neither_weights_nor_random_state_nor_caches(tmp_path: Path) -> None:
    leg = leg_of(tmp_path)
    network = leg.make().network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    training, state = network.training, torch.get_rng_state()
    scored: list[int] = []

    def score(classifier: NetworkClassifier, images: Dataset) -> None:
        scored.append(len(images))
        score_images(classifier, images, DEFAULT_EXECUTION)

    found = measure_pace(leg, USED, [leg.loader.dataset], score)
    assert found.step > 0 and found.scoring > 0 and found.opening >= 0 and len(set(scored)) == 1
    assert found.epoch(leg) == 2 * found.step + found.scoring
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters()) and network.training is training
    assert torch.equal(torch.get_rng_state(), state)
    assert "kept" not in leg.loader.__dict__


def shared_state(leg: Leg, used: Runtime) -> State:
    """Return a state that shares the network with training, as `throwaway_state` must not."""
    state = State(used, leg.seed)
    state.enter(leg)
    return state


def test_a_measured_run_ends_with_the_bits_of_one_with_these_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pets = str(tree(tmp_path / "pets"))

    def run(name: str, **choices: Any) -> str:
        for _ in train("mnist-lenet", tmp_path / name, data=pets, batch=8, device="cpu", **choices):
            pass
        return digest(tmp_path / name)

    expected = run("epochs", epochs=1)
    assert run("minutes", minutes=1e-6) == expected
    monkeypatch.setattr(pace, "throwaway_state", shared_state)
    assert run("shared", minutes=1e-6) != expected  # the twin: the measured steps train the network


@pytest.mark.parametrize(
    ("workers", "memory", "loading", "computing", "cores", "expected"),
    [
        (0, 0, 2.0, 3.0, 8, 5.0),  # the same thread does both
        (2, 2048, 2.0, 3.0, 8, 5.0),  # images are kept in memory
        (2, 0, 2.0, 3.0, 8, 3.0),  # decoding takes place meanwhile
        (2, 0, 4.0, 3.0, 8, 4.0),
        (2, 0, 2.0, 3.0, 2, 5.0),  # both need all cores
    ],
)
def test_times_of_loading_and_computing_combine(
    workers: int,
    memory: int,
    loading: float,
    computing: float,
    cores: int,
    expected: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leg = leg_of(tmp_path)
    leg = replace(leg, loader=replace(leg.loader, workers=workers, memory_mib=memory))
    processor = pace.read_processor()
    monkeypatch.setattr(pace, "read_processor", lambda: replace(processor, usable=cores))
    assert combine_seconds(leg, loading, computing, Runtime("cpu", 2)) == expected


@pytest.mark.parametrize("memory", [0, 2048])
def test_opening_images_counts_only_if_they_are_kept(memory: int, tmp_path: Path) -> None:
    leg = leg_of(tmp_path)
    batch, opening, loading = load_sample(replace(leg, loader=replace(leg.loader, memory_mib=memory)), 4)
    assert len(batch) == 4 and loading > 0 and (opening > 0) == (memory > 0)


def test_unreadable_images_cannot_be_measured(tmp_path: Path) -> None:
    leg = leg_of(tmp_path)
    for file in (tmp_path / "pets").rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"none of 8 images .* can be read; run: imclass data check"):
        load_sample(leg, 8)


def test_spaced_images_come_from_all_classes(tmp_path: Path) -> None:
    data = leg_of(tmp_path).loader.dataset
    sample = spaced_images(data, 4)
    assert len(sample) == 4 and set(sample.targets.counts(2).tolist()) == {2}
    assert len(spaced_images(data, 99)) == 16


def test_slow_calls_are_not_repeated() -> None:
    calls: list[int] = []
    assert median_seconds(lambda: calls.append(1), limit=1e-12) >= 0 and len(calls) == 1
    assert median_seconds(lambda: calls.append(1)) >= 0 and len(calls) == 1 + pace.REPEATS
    assert Pace(0.0, 1.0, 2.0).scoring == 2.0
