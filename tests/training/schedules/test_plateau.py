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
