"""Schedules against the formulas of their papers, written out plainly."""

import math
from itertools import pairwise

import pytest
import torch

from imclass.core.config import Schedule
from imclass.training.schedules import Position, rate


def at(step: int, steps: int = 100, samples: int = 0) -> Position:
    return Position(step, samples, steps)


def test_constant() -> None:
    assert [rate(Schedule("constant", rate=0.3), at(s)) for s in (0, 50, 99)] == [0.3] * 3


def test_step_falls_after_the_named_steps() -> None:
    schedule = Schedule("step", rate=0.1, steps=(32_000, 48_000))
    found = [rate(schedule, at(s, 64_000)) for s in (0, 31_999, 32_000, 47_999, 48_000, 63_999)]
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_discrete_exponential_is_the_books() -> None:
    """lr .1, .01, .001 in passes 0-99, 100-199, 200-299 of 50,000 images (a = .1, b = 50,000 * 100)."""
    schedule = Schedule("discrete-exponential", rate=0.1, factor=0.1, every=5_000_000)
    for passes, expected in ((0, 0.1), (99, 0.1), (100, 0.01), (199, 0.01), (200, 0.001), (299, 0.001)):
        assert rate(schedule, at(0, samples=passes * 50_000)) == pytest.approx(expected)
    assert rate(schedule, at(0, samples=5_000_000 - 1)) == pytest.approx(0.1)


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_plateau_equals_pytorchs(patience: int) -> None:
    history = [0.1, 0.3, 0.3, 0.2, 0.31, 0.3, 0.3, 0.3, 0.3, 0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=0.1)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, mode="max", factor=0.1, patience=patience - 1, threshold=0.0, threshold_mode="abs", eps=0.0
    )
    schedule = Schedule("plateau", rate=0.1, patience=patience)
    for n in range(1, len(history) + 1):
        oracle.step(history[n - 1])
        assert rate(schedule, at(0), history[:n]) == pytest.approx(optimiser.param_groups[0]["lr"])
    assert rate(schedule, at(0), history) < 0.1


def test_cosine() -> None:
    schedule = Schedule("cosine", rate=2.0, final=0.1)
    for s in (0, 25, 50, 99):
        assert rate(schedule, at(s)) == pytest.approx(2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * s / 100))))


def test_triangular_peaks_where_said_and_ends_at_final() -> None:
    rates = [rate(Schedule("triangular", rate=1.0, peak=0.25, final=0.07), at(s)) for s in range(100)]
    assert max(rates) == rates[24] == pytest.approx(1.0) and rates[0] > 0 and rates[-1] == pytest.approx(0.07)
    assert all(a < b for a, b in pairwise(rates[:25]))
    assert all(a > b for a, b in pairwise(rates[24:]))


@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
def test_warm_up_climbs_linearly_to_the_schedule(name: str) -> None:
    schedule = Schedule(name, rate=1.0, warmup=10)  # type: ignore[arg-type]
    assert [rate(schedule, at(s)) for s in range(10)] == pytest.approx([(s + 1) / 10 for s in range(10)])
    assert rate(schedule, at(10)) == pytest.approx(1.0)


def test_rates_are_pure() -> None:
    schedule, history = Schedule("plateau", patience=1), [0.5, 0.4]
    assert rate(schedule, at(3), history) == rate(schedule, at(3), history) and history == [0.5, 0.4]
