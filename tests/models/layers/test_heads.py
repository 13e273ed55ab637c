"""Heads at every position of larger maps against plain loops over windows, and the order of their layers."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imclass.core.errors import UserError
from imclass.models.layers import heads
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.heads import Penultimate, dilated_mean, fully_connected, linear_layer, slide
from tests.support.tolerance import assert_near, near


def maps(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("side", "dilation"), [(1, 1), (2, 1), (3, 1), (3, 2), (2, 3)])
@pytest.mark.parametrize("columns", [heads.STRIP_ELEMENTS, 1])  # all rows at once, and one at a time
def test_slide_matches_a_loop_over_windows(
    side: int, dilation: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "STRIP_ELEMENTS", columns)
    torch.manual_seed(0)
    large, layer = maps(2, 4, 7, 9), nn.Linear(4 * side**2, 5)
    found = slide(large, layer, dilation)
    reach = dilation * (side - 1)
    assert found.shape == (2, 5, 7 - reach, 9 - reach)
    for y in range(7 - reach):
        for x in range(9 - reach):
            window = large[:, :, y : y + reach + 1 : dilation, x : x + reach + 1 : dilation]
            assert_near(found[:, :, y, x], layer(window.flatten(1)))


@pytest.mark.parametrize(("side", "dilation"), [(1, 1), (3, 1), (2, 3)])
def test_the_dilated_mean_matches_a_loop_over_windows(side: int, dilation: int) -> None:
    large = maps(2, 3, 6, 8).numpy()
    found = dilated_mean(torch.from_numpy(large), side, dilation).numpy()
    reach = dilation * (side - 1)
    expected = np.empty((2, 3, 6 - reach, 8 - reach), np.float32)
    for y in range(6 - reach):
        for x in range(8 - reach):
            expected[:, :, y, x] = large[:, :, y : y + reach + 1 : dilation, x : x + reach + 1 : dilation].mean((2, 3))
    assert_near(found, expected)
    if dilation > 1:  # adjacent values have another mean
        near_by = dilated_mean(torch.from_numpy(large), side, 1).numpy()[:, :, : 6 - reach, : 8 - reach]
        assert not near(near_by, expected, 1e-3)


@pytest.mark.parametrize(
    ("drop_inputs", "hidden"),
    [
        (False, ["fc6", "relu6", "drop6", "fc7", "relu7", "drop7"]),
        (True, ["drop6", "fc6", "relu6", "drop7", "fc7", "relu7"]),
    ],
)
def test_dropout_is_after_or_before_each_hidden_layer(drop_inputs: bool, hidden: list[str]) -> None:
    head = fully_connected(12, (8, 6), 3, drop_inputs=drop_inputs)
    assert [name for name, _ in head.named_children()] == ["flatten", *hidden, "fc8"]
    assert [tuple(m.weight.shape) for m in head if isinstance(m, nn.Linear)] == [(8, 12), (6, 8), (3, 6)]
    assert [m.p for m in head if isinstance(m, Dropout)] == [0.5, 0.5]
    assert head(torch.zeros(2, 3, 2, 2)).shape == (2, 3)


def test_layers_are_numbered_from_the_first() -> None:
    names = [name for name, _ in fully_connected(4, (), 3, first=7).named_children()]
    assert names == ["flatten", "fc7"]


LINEAR = [
    fully_connected(16, (8,), 3, first=2),
    nn.Sequential(nn.AvgPool2d(2, 1), nn.Flatten(), Dropout(0.5), nn.Linear(4, 3)),
    nn.Sequential(nn.Conv2d(4, 3, 1), nn.AvgPool2d(2, 1), nn.Flatten()),
    nn.Sequential(nn.AvgPool2d(2, 1), nn.Conv2d(4, 3, 1), nn.Flatten()),
]
OTHERS = [
    nn.Sequential(nn.Conv2d(4, 3, 1), nn.ReLU(), nn.AvgPool2d(2, 1), nn.Flatten()),
    nn.Sequential(nn.Conv2d(4, 3, 2), nn.Flatten()),
    nn.Sequential(nn.Flatten(), nn.Linear(16, 3, bias=False)),
    nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3)),
    nn.Sequential(nn.Flatten()),
]


@pytest.mark.parametrize("head", LINEAR)
def test_the_last_layer_is_a_linear_map_of_the_penultimate_vector(head: nn.Sequential) -> None:
    head.eval()
    layer, images = linear_layer(head, "mine"), maps(5, 4, 2, 2)
    weight = layer.weight.view(3, -1)
    assert_near(head(images), Penultimate(head)(images) @ weight.T + layer.get_parameter("bias"))


@pytest.mark.parametrize("head", OTHERS)
def test_a_head_that_no_solver_can_fit_is_refused(head: nn.Sequential) -> None:
    with pytest.raises(UserError, match="the head of mine does not end in one fully connected layer"):
        linear_layer(head, "mine")
