"""PReLU-net: parameters and maps by hand, scores of a second implementation, initial weights, slopes that learn."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from imclass.models.nets.prelu_net import NETS, PReLU, PReLUNet, Row
from tests.support.outline import count, outline, shapes
from tests.support.tolerance import assert_near

NARROW = Row(5, (6, 7, 8), (2, 1, 2), (3, 2, 1), (9, 10), size=48)


def test_parameters_are_those_of_the_layers_by_hand() -> None:
    """330.6 million, of which the slopes are 20,576."""
    weights, w_in = (3 * 49 + 1) * 96, 96
    for width in (384, 768, 896):
        weights += (9 * w_in + 1) * width + 5 * (9 * width + 1) * width
        w_in = width
    bins = 7 * 7 + 3 * 3 + 2 * 2 + 1
    assert bins == 63
    weights += (bins * 896 + 1) * 4096 + 4097 * 4096 + 4097 * 1000
    slopes = 96 + 6 * (384 + 768 + 896) + 2 * 4096
    assert count(outline(NETS["prelu-net-c"])) == weights + slopes == NETS["prelu-net-c"].parameters
    assert round(weights / 1e6, 1) == 330.6


def test_it_has_22_layers_and_the_maps_of_table_3() -> None:
    network = outline(NETS["prelu-net-c"])
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in network.modules()) == 22
    found = shapes(network)
    names = ("conv1", "conv2_1", "conv2_6", "conv3_6", "conv4_6")
    assert [found[name] for name in names] == [(96, 112), (384, 56), (384, 56), (768, 28), (896, 14)]


@torch.no_grad()
def test_scores_are_those_of_functions_one_after_another() -> None:
    torch.manual_seed(0)
    network = PReLUNet(NARROW, classes=4).double().eval()
    images = torch.rand(2, 3, 48, 48)
    weights = iter(network.parameters())

    def bend(values: Tensor) -> Tensor:
        slopes = next(weights).reshape(-1, *[1] * (values.dim() - 2))
        return values.clamp_min(0) + slopes * values.clamp_max(0)

    maps = bend(functional.conv2d(images.double(), next(weights), next(weights), stride=2, padding=3))
    for blocks in (2, 1, 2):
        maps = functional.max_pool2d(maps, 2)
        for _ in range(blocks):
            maps = bend(functional.conv2d(maps, next(weights), next(weights), padding=1))
    # The maps have a side of 3, so the bins of the second level overlap in the middle row and column.
    parts = [maps, torch.stack([maps[..., i : i + 2, j : j + 2].amax((2, 3)) for i in (0, 1) for j in (0, 1)], 2)]
    values = torch.cat([part.flatten(1) for part in (*parts, maps.amax((2, 3)))], dim=1)
    for _ in range(2):
        values = bend(functional.linear(values, next(weights), next(weights)))
    assert_near(network(images), functional.linear(values, next(weights), next(weights)), 1e-12)


def test_initial_weights_keep_the_scale_of_signals() -> None:
    """Section 2.2: the variance of the weights is 2 / ((1 + a^2) fan-in). Slopes are a, and biases 0."""
    torch.manual_seed(0)
    network = PReLUNet(Row(32, (32, 32, 32), (1, 1, 1), (3,), (64, 64), slope=0.5, size=48), classes=64)
    for name, p in network.named_parameters():
        if name.endswith("bias"):
            assert not p.any(), name
        elif p.dim() == 1:
            assert p.unique().tolist() == [0.5], name
        else:
            assert p.std().item() == pytest.approx((2 / (1.25 * p[0].numel())) ** 0.5, rel=0.05), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_slope_learns_from_the_negative_values_of_its_channel(dtype: torch.dtype) -> None:
    """Section 2.1: the gradient of a slope is the sum of the negative inputs, times the gradient of the output."""
    layer, maps = PReLU(3), torch.randn(2, 3, 4, 4).to(dtype)
    output = layer(maps)
    assert output.dtype == dtype
    output.float().sum().backward()
    found = layer.weight.grad
    assert found is not None and found.dtype == torch.float32
    expected = np.minimum(maps.float().numpy(), 0).sum((0, 2, 3))
    assert_near(found.numpy(), expected, 1e-6 if dtype == torch.float32 else 1e-2)
