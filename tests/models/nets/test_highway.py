"""Highway networks: parameters by hand, the gate against its equation, initial weights."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from imclass.models.layers.dropout import Dropout
from imclass.models.nets.highway import NETS, GatedConvolution, Highway, Row
from tests.support.outline import count, outline
from tests.support.tolerance import assert_near

NARROW = Row((4, 6, 8), (2, 1, 1), hidden=5, size=8)


def test_parameters_are_those_of_the_layers_by_hand() -> None:
    total, w_in = 0, 3
    for width, gated in ((32, 4), (80, 5), (128, 5)):
        total += (9 * w_in + 1) * width + gated * 2 * (9 * width + 1) * width
        w_in = width
    total += (w_in + 1) * 100 + 101 * 10
    assert count(outline(NETS["highway-19"])) == total == NETS["highway-19"].parameters == 2_256_838


def test_it_has_19_layers() -> None:
    """A gated layer counts as one, because its two convolutions are parallel."""
    network = outline(NETS["highway-19"])
    gated = [m for m in network.modules() if isinstance(m, GatedConvolution)]
    plain = [m for m in (*network.features, *network.head) if isinstance(m, nn.Conv2d | nn.Linear)]
    assert (len(gated), len(plain)) == (14, 5)


def test_the_deep_network_has_the_parameters_and_layers_of_the_paper() -> None:
    """Table 2 states 32 layers and about 1.25 million parameters, and section 3.3.1 kernels of 3x3 and 1x1 in turn."""
    total, w_in = 0, 3
    for width in (32, 64, 96):
        total += (9 * w_in + 1) * width + 2 * (5 * (width + 1) + 4 * (9 * width + 1)) * width
        w_in = width
    total += (w_in + 1) * 100 + 101 * 10
    entry = NETS["highway-32"]
    assert total == entry.parameters == pytest.approx(1.25e6, rel=0.02)
    kernels = [p.shape[-1] for n, p in outline(entry).features.named_parameters() if p.dim() == 4 and ".gate." not in n]
    assert kernels == [3, 1] * 15
    assert len(kernels) + 2 == 32


@torch.no_grad()
def test_its_scores_are_those_of_functions_one_after_another() -> None:
    row = Row((4, 6, 8), (3, 2, 1), kernels=(1, 3), hidden=5, connected=True, gate_bias=0.0, size=8)
    network = Highway(row, classes=3).double().eval()
    images = torch.rand(2, 3, 8, 8)
    weights = iter(network.parameters())

    def convolve(maps: Tensor) -> Tensor:
        weight = next(weights)
        return functional.conv2d(maps, weight, next(weights), padding=weight.shape[-1] // 2)

    maps = images.double()
    for stage, gated in enumerate((3, 2, 1)):
        maps = convolve(functional.max_pool2d(maps, 2) if stage else maps).relu()
        for _ in range(gated):
            transform, gate = convolve(maps).relu(), convolve(maps).sigmoid()
            maps = gate * transform + (1 - gate) * maps
    hidden = functional.linear(maps.amax((2, 3)), next(weights), next(weights)).relu()
    assert_near(network(images), functional.linear(hidden, next(weights), next(weights)), 1e-12)
    assert next(weights, None) is None


def test_maps_are_32_16_and_8_pixels_wide() -> None:
    network, maps = outline(NETS["highway-19"]), torch.empty(1, 3, 32, 32, device="meta")
    found = []
    for layer in network.features:
        maps = layer(maps)
        found += [tuple(maps.shape[1:])] if isinstance(layer, GatedConvolution) else []
    assert found == [(32, 32, 32)] * 4 + [(80, 16, 16)] * 5 + [(128, 8, 8)] * 5
    assert maps.shape[1:] == (100, 8, 8)


def test_the_gate_mixes_the_transform_and_the_input() -> None:
    """Equation 3: y = H T + x (1 - T)."""
    torch.manual_seed(0)
    layer, maps = GatedConvolution(3), torch.randn(2, 3, 5, 5)
    before = maps.clone()
    transform, gate = layer.transform(maps), layer.gate(maps)
    assert_near(layer(maps), transform * gate + before * (1 - gate))
    assert torch.equal(maps, before)
    assert transform.min() == 0
    assert 0 < gate.min() < gate.max() < 1


@pytest.mark.parametrize(("bias", "carried"), [(-30.0, True), (30.0, False)])
def test_a_closed_gate_carries_and_an_open_one_transforms(bias: float, carried: bool) -> None:
    layer, maps = GatedConvolution(3), torch.randn(2, 3, 5, 5)
    nn.init.constant_(layer.gate.get_parameter("0.bias"), bias)
    assert_near(layer(maps), maps if carried else layer.transform(maps))


def test_gates_begin_mostly_closed() -> None:
    """Gate biases are -2, other biases 0. First and last weights are drawn from N(0, 0.05^2), the rest are He's."""
    torch.manual_seed(0)
    network = Highway(Row((32, 80, 128), (1, 1, 1)))
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert parameter.unique().tolist() == [-2.0 if ".gate." in name else 0.0], name
    first, last = network.features[1], network.head[-1]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.Linear)
    for layer in (first, last):
        assert layer.weight.std().item() == pytest.approx(0.05, rel=0.1)
    gated = [m for m in network.modules() if isinstance(m, GatedConvolution)]
    for weights in (gated[1].transform.get_parameter("0.weight"), gated[1].gate.get_parameter("0.weight")):
        assert weights.std().item() == pytest.approx((2 / (9 * 80)) ** 0.5, rel=0.02)


def test_dropout_is_before_each_plain_convolution_and_the_last_layer() -> None:
    network = Highway(NARROW)
    kinds = [type(m) for m in network.features]
    assert [kinds[i + 1] for i, kind in enumerate(kinds) if kind is Dropout] == [nn.Conv2d] * 3
    assert [type(m) for m in network.head] == [nn.AvgPool2d, nn.Flatten, Dropout, nn.Linear]
    assert {m.p for m in network.modules() if isinstance(m, Dropout)} == {0.2}


def test_a_size_that_is_too_small_is_refused_with_the_smallest() -> None:
    with pytest.raises(ValueError, match="size is 3, but the smallest that works is 4"):
        Highway(Row((4, 6, 8), (1, 1, 1), size=3))
    assert Highway(Row((4, 6, 8), (1, 1, 1), size=4)).eval()(torch.rand(1, 3, 4, 4)).shape == (1, 10)
