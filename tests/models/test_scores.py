"""Scores and posteriors against plain loops, and at the limits of floating-point numbers."""

import math

import numpy as np
import pytest
import torch

from imclass.models.scores import posterior, scores_of, top_classes
from tests.support.tolerance import assert_near

CLASSES = ("ant", "bee", "cow")


def by_hand(scores: list[float]) -> list[float]:
    """Return the powers of e, divided by their sum."""
    powers = [math.exp(score) for score in scores]
    return [power / math.fsum(powers) for power in powers]


def test_the_posterior_matches_a_plain_loop() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    found = posterior(torch.from_numpy(scores))
    assert found.dtype == torch.float64
    assert_near(found.numpy(), [by_hand(row) for row in scores.tolist()], within=1e-12)


def test_scores_that_would_overflow_exp_have_a_posterior() -> None:
    scores = torch.tensor([[1000.0, 999.0, -1000.0], [-2000.0, -2000.0, -2000.0]])
    with pytest.raises(OverflowError):  # the plain loop cannot do it
        by_hand(scores[0].tolist())
    found = posterior(scores)
    assert_near(found[0].numpy(), [*by_hand([1.0, 0.0]), 0.0], within=1e-12)
    assert_near(found[1].numpy(), [1 / 3] * 3, within=1e-12)


def test_a_map_has_a_posterior_at_each_position() -> None:
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = posterior(maps)
    assert found.shape == (2, 3, 4, 5)
    for n in range(2):
        for y in range(4):
            for x in range(5):
                assert_near(found[n, :, y, x].numpy(), by_hand(maps[n, :, y, x].tolist()), within=1e-12)


def test_scores_of_posteriors_have_the_same_posteriors() -> None:
    posteriors = torch.tensor([[0.5, 0.25, 0.25], [0.9, 0.1 - 1e-30, 1e-30]], dtype=torch.float64)
    found = scores_of(posteriors).float()
    assert_near(found.numpy(), [[math.log(p) for p in row] for row in posteriors.tolist()])
    assert_near(posterior(found), posteriors)


def test_an_exact_zero_has_a_finite_log_below_all_others() -> None:
    found = scores_of(torch.tensor([[1.0, 0.0, 1e-300]], dtype=torch.float64))[0]
    assert torch.isfinite(found).all()
    assert found[0] == 0
    assert found[1] < found[2] and found[1].item() == pytest.approx(math.log(np.finfo(np.float64).tiny))
    assert torch.tensor(0.0, dtype=torch.float64).log() == -math.inf  # the counterpart without the limit


def test_the_most_probable_classes_come_first() -> None:
    scores = [[0.5, 2.0, 1.0], [3.0, -1.0, 0.0]]
    found = top_classes(torch.tensor(scores), CLASSES, 2)
    assert [[name for name, _ in row] for row in found] == [["bee", "cow"], ["ant", "cow"]]
    first, second = (by_hand(row) for row in scores)
    assert_near([[p for _, p in row] for row in found], [[first[1], first[2]], [second[0], second[2]]])


@pytest.mark.parametrize("top", [3, 4, 1000])
def test_all_classes_are_returned_if_there_are_fewer_than_top(top: int) -> None:
    (found,) = top_classes(torch.tensor([[0.5, 2.0, 1.0]]), CLASSES, top)
    assert [name for name, _ in found] == ["bee", "cow", "ant"]
    assert math.fsum(p for _, p in found) == pytest.approx(1, rel=1e-5)


def test_no_images_give_no_rows() -> None:
    assert top_classes(torch.zeros(0, 3), CLASSES, 2) == []
