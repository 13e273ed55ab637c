"""Arithmetic: the gradients of bf16, and the probe that chooses between precisions and layouts."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from imclass.core.runtime import DEFAULT_ARITHMETIC, Arithmetic
from imclass.models.arithmetic import precision
from imclass.models.arithmetic.precision import (
    BF16,
    FP32,
    forward,
    probe,
    race,
    time_call,
    training_steps,
)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 36, 4)
    )


IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 4


def test_gradients_reach_the_float32_weights(network: nn.Module) -> None:
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.inner(images.to(next(self.parameters()).dtype))

    cast = Cast().eval()
    exact = torch.autograd.grad(forward(cast, IMAGES, DEFAULT_ARITHMETIC).square().sum(), list(cast.parameters()))
    found = torch.autograd.grad(forward(cast, IMAGES, BF16[0]).float().square().sum(), list(cast.parameters()))
    for a, b in zip(exact, found, strict=True):
        assert b.dtype == torch.float32 and (a - b).norm() < 0.05 * a.norm()
    assert any(not torch.equal(a, b) for a, b in zip(exact, found, strict=True))  # it really was another arithmetic


def fake_trials(monkeypatch: pytest.MonkeyPatch, seconds: dict[Arithmetic, float], wrong: set[Arithmetic]) -> None:
    """Replace measured times by these, and the scores of some candidates by wrong ones."""
    exact = torch.tensor([[1.0, -1.0]])
    monkeypatch.setattr(precision, "training_steps", lambda n, i, y, candidates: [lambda a=a: a for a in candidates])
    monkeypatch.setattr(precision, "time_call", lambda step: seconds[step()])
    monkeypatch.setattr(
        precision, "trial_scores", lambda n, i, arithmetic: exact * (1.5 if arithmetic in wrong else 1.001)
    )


@pytest.mark.parametrize(
    ("seconds", "wrong", "expected"),
    [
        ((1.0, 0.8, 0.3), (), BF16[0]),
        ((1.0, 0.8, 0.3), (BF16[0],), FP32[1]),  # the fastest has wrong scores
        ((1.0, 0.8, 9.0), (), FP32[1]),
        ((1.0, 0.99, 0.97), (), DEFAULT_ARITHMETIC),  # too little is gained
        ((1.0, 0.5, 0.49), (), FP32[1]),
    ],
)
def test_the_fastest_with_correct_scores_is_chosen(
    network: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    seconds: tuple[float, ...],
    wrong: tuple[Arithmetic, ...],
    expected: Arithmetic,
) -> None:
    fake_trials(monkeypatch, dict(zip(FP32 + BF16, seconds, strict=True)), set(wrong))
    chosen, trials = probe(network, IMAGES, LABELS)
    assert chosen == expected and [t.seconds for t in trials] == list(seconds)


def test_a_candidate_whose_scores_are_not_numbers_is_not_chosen(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_trials(monkeypatch, dict.fromkeys(FP32 + BF16, 1.0) | {BF16[0]: 0.1}, set())
    monkeypatch.setattr(
        precision, "trial_scores", lambda n, i, a: torch.tensor([[math.nan if a.precision == "bf16" else 1.0]])
    )
    assert probe(network, IMAGES, LABELS)[0] == DEFAULT_ARITHMETIC


def test_a_real_probe_measures_each_candidate_and_leaves_the_network_unchanged(network: nn.Module) -> None:
    before = {k: v.clone() for k, v in network.state_dict().items()}
    chosen, trials = probe(network, IMAGES, LABELS, FP32)
    assert [t.arithmetic for t in trials] == list(FP32) and chosen in FP32
    assert all(t.seconds > 0 and t.difference < 1e-5 for t in trials)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_a_candidate_that_is_far_too_slow_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(precision.time, "perf_counter", lambda: clock.now)
    assert race([clock.step(1.0), clock.step(1.5), clock.step(11.0)]) == [1.0, 1.5, 11.0]
    assert clock.now == (1 + precision.REPEATS) * (1 + 1.5) + 11


def test_a_race_ends_once_one_candidate_is_clearly_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(precision.time, "perf_counter", lambda: clock.now)
    assert race([clock.step(1.0), clock.step(2.0), clock.step(3.0)]) == [1.0, 2.0, 3.0]
    assert clock.now == 2 * (1 + 2 + 3)


def test_a_probe_without_labels_computes_no_gradients(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "backward", lambda *_: pytest.fail("gradients were computed"))
    chosen, trials = probe(network, IMAGES, None, FP32)
    assert chosen in FP32 and all(trial.seconds > 0 for trial in trials)
    with pytest.raises(pytest.fail.Exception):
        probe(network, IMAGES, LABELS, FP32)


class Clock:
    """A clock that advances with steps only, which take twice as long while another process is busy in each period."""

    def __init__(self, busy: float = 0.0, period: float = 1.0, start: float = 0.0) -> None:
        self.now, self.busy, self.period = start, busy, period

    def step(self, seconds: float) -> Callable[[], None]:
        def work() -> None:
            slow = self.now % self.period < self.busy
            self.now += 2 * seconds if slow else seconds

        return work


def measure_in_turn(steps: Sequence[Callable[[], None]]) -> list[float]:
    """Measure all calls of a step before the next one's, as `race` must not do."""
    return [min([time_call(step) for _ in range(1 + precision.REPEATS)][1:]) for step in steps]


def test_noise_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another process be busy for six of every fourteen seconds, beginning at any time."""

    def order(measure: Callable[[Sequence[Callable[[], None]]], list[float]], start: int) -> list[int]:
        clock = Clock(busy=6, period=14, start=start)
        monkeypatch.setattr(precision.time, "perf_counter", lambda: clock.now)
        seconds = measure([clock.step(duration) for duration in (1.2, 1.0, 0.8)])
        return sorted(range(3), key=seconds.__getitem__)

    assert [order(race, start) for start in range(14)] == [[2, 1, 0]] * 14
    wrong = [order(measure_in_turn, start) != [2, 1, 0] for start in range(14)]
    assert sum(wrong) > 4  # the twin: measured in turn, one candidate may meet all of the noise


def test_a_probe_holds_the_gradients_of_one_copy(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[nn.Module] = []
    real = precision.set_memory_format
    monkeypatch.setattr(precision, "set_memory_format", lambda *args: copies.append(real(*args)) or copies[-1])  # type: ignore[func-returns-value]
    for step in training_steps(network, IMAGES, LABELS, FP32 + BF16):
        step()
        assert all(p.grad is None for copy in copies for p in copy.parameters())
    assert len(copies) == 2  # float32 and bf16 in channels last share one
