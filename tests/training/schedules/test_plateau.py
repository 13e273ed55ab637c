"""The plateau schedule, compared with PyTorch's."""

import pytest
import torch

from imclass.training.schedules.plateau import Plateau
from tests.support.positions import at


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_the_rate_falls_as_pytorch_s(patience: int) -> None:
    history = (0.1, 0.3, 0.3, 0.2, 0.31, 0.3, 0.3, 0.3, 0.3, 0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=0.1)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, mode="max", factor=0.1, patience=patience - 1, threshold=0.0, threshold_mode="abs", eps=0.0
    )
    schedule = Plateau(rate=0.1, patience=patience)
    for n in range(1, len(history) + 1):
        oracle.step(history[n - 1])
        assert schedule.rate_at(at(0, history=history[:n])) == pytest.approx(optimiser.param_groups[0]["lr"])
    assert schedule.rate_at(at(0, history=history)) < 0.1
    assert schedule.needs_validation


# Validation images out of 234 that VGG A of the recipe imagenet-vgg, scaled down, classified correctly after each epoch
# of one run on photos of flowers.
RIGHT = (
    63,
    80,
    85,
    81,
    103,
    98,
    103,
    101,
    110,
    108,
    105,
    118,
    118,
    124,
    114,
    115,
    124,
    126,
    125,
    125,
    125,
    125,
    124,
    127,
    127,
)
RECORDED = tuple(right / 234 for right in RIGHT)


def test_the_rate_falls_at_most_three_times_on_a_recorded_curve() -> None:
    schedule = Plateau(rate=1e-2, patience=2, falls=3)
    found = [schedule.rate_at(at(0, history=RECORDED[:n])) for n in range(len(RECORDED) + 1)]
    # The best results are those of epochs 5, 9, 12, 14, 18 and 24. Each second epoch without a better one is a fall.
    falls = [n for n in range(1, len(found)) if found[n] < found[n - 1]]
    assert falls == [7, 11, 16] and found[-1] == pytest.approx(1e-5)
    without_limit = Plateau(rate=1e-2, patience=2)
    assert without_limit.rate_at(at(0, history=RECORDED)) == pytest.approx(1e-7)


def test_the_patience_changes_with_the_number_of_epochs() -> None:
    schedule = Plateau(patience=5, falls=3)
    assert [schedule.stretch(ratio) for ratio in (0.5, 2.0, 0.01)] == [
        Plateau(patience=patience, falls=3) for patience in (3, 10, 1)
    ]
