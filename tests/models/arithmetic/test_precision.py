"""Arithmetic: what bf16 changes and what it must not, and how it is chosen."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from imclass.core.runtime import PLAIN, Arithmetic
from imclass.models.arithmetic import precision
from imclass.models.arithmetic.precision import BF16, FP32, forward, probe


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 36, 4)
    )


IMAGES, LABELS = torch.rand(6, 3, 8, 8), torch.arange(6) % 4


def test_gradients_reach_the_float32_weights(network: nn.Module) -> None:
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.inner(images.to(next(self.parameters()).dtype))

    whole = Cast().eval()
    exact = torch.autograd.grad(forward(whole, IMAGES, PLAIN).square().sum(), list(whole.parameters()))
    found = torch.autograd.grad(forward(whole, IMAGES, BF16[0]).float().square().sum(), list(whole.parameters()))
    for a, b in zip(exact, found, strict=True):
        assert b.dtype == torch.float32 and (a - b).norm() < 0.05 * a.norm()
    assert any(not torch.equal(a, b) for a, b in zip(exact, found, strict=True))  # it really was another arithmetic


def fake(monkeypatch: pytest.MonkeyPatch, seconds: dict[Arithmetic, float], wrong: set[Arithmetic]) -> None:
    """Times and scores as given."""
    exact = torch.tensor([[1.0, -1.0]])
    monkeypatch.setattr(precision, "timed", lambda n, i, y, arithmetic, give_up: seconds[arithmetic])
    monkeypatch.setattr(precision, "scored", lambda n, i, arithmetic: exact * (1.5 if arithmetic in wrong else 1.001))


@pytest.mark.parametrize(
    ("seconds", "wrong", "expected"),
    [
        ((1.0, 0.8, 0.3), (), BF16[0]),
        ((1.0, 0.8, 0.3), (BF16[0],), FP32[1]),  # the fastest computes something else
        ((1.0, 0.8, 9.0), (), FP32[1]),
        ((1.0, 0.99, 0.97), (), PLAIN),  # not worth it
        ((1.0, 0.5, 0.49), (), FP32[1]),
    ],
)
def test_the_fastest_that_computes_the_same_is_taken(
    network: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    seconds: tuple[float, ...],
    wrong: tuple[Arithmetic, ...],
    expected: Arithmetic,
) -> None:
    fake(monkeypatch, dict(zip(FP32 + BF16, seconds, strict=True)), set(wrong))
    chosen, trials = probe(network, IMAGES, LABELS)
    assert chosen == expected and [t.seconds for t in trials] == list(seconds)


def test_scores_that_are_not_numbers_are_never_taken(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, dict.fromkeys(FP32 + BF16, 1.0) | {BF16[0]: 0.1}, set())
    monkeypatch.setattr(
        precision, "scored", lambda n, i, a: torch.tensor([[math.nan if a.precision == "bf16" else 1.0]])
    )
    assert probe(network, IMAGES, LABELS)[0] == PLAIN


def test_a_real_probe_touches_nothing_and_measures_each(network: nn.Module) -> None:
    before = {k: v.clone() for k, v in network.state_dict().items()}
    chosen, trials = probe(network, IMAGES, LABELS, FP32)
    assert [t.arithmetic for t in trials] == list(FP32) and chosen in FP32
    assert all(t.seconds > 0 and t.difference < 1e-5 for t in trials)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_a_hopeless_candidate_is_tried_once(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = precision.forward

    def counted(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(precision, "forward", counted)
    precision.timed(network, IMAGES, LABELS, PLAIN, give_up=0.0)
    assert len(calls) == 1
    precision.timed(network, IMAGES, LABELS, PLAIN, give_up=math.inf)
    assert len(calls) == 1 + 1 + precision.REPEATS
