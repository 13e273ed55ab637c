"""CIFAR ResNets: parameters by hand for both shortcuts, blocks against formulas, refused depths, foreign names."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.models.classifier import create
from imclass.models.entry import PaperResult
from imclass.models.layers.residual import BasicBlock, Subsample
from imclass.models.nets.resnet_cifar import NETS, ResNetCifar, Row
from tests.support.tolerance import assert_near, near

PUBLISHED = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43, 1202: 7.93}
COUNTS = {
    "20": 269_722, "32": 464_154, "44": 658_586, "56": 853_018, "110": 1_727_962, "1202": 19_421_274,
    "20-b": 272_474, "32-b": 466_906, "44-b": 661_338, "56-b": 855_770, "110-b": 1_730_714, "1202-b": 19_424_026,
}  # fmt: skip


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


WITH_BIAS = {20: 272_810, 32: 467_466, 44: 662_122, 56: 856_778, 110: 1_732_730, 1202: 19_446_426}  # option B


def by_hand(depth: int, option: str, widths: tuple[int, ...] = (16, 32, 64)) -> int:
    """Count 3x3 without bias, BN's two numbers per map, the stem, 2n convolutions per stage, projections, FC."""
    n, count, w_in = (depth - 2) // 6, 27 * widths[0] + 2 * widths[0], widths[0]
    for w_out in widths:
        count += 9 * w_in * w_out + (2 * n - 1) * 9 * w_out * w_out + 2 * n * 2 * w_out
        count += (w_in + 2) * w_out if option == "B" and w_in != w_out else 0
        w_in = w_out
    return count + w_in * 10 + 10


def test_the_table_is_that_of_the_paper() -> None:
    assert {name.removeprefix("resnet-cifar-"): entry.parameters for name, entry in NETS.items()} == COUNTS
    for name, entry in NETS.items():
        assert entry.parameters == by_hand(entry.row.depth, entry.row.option)
        assert entry.result == (
            None if name.endswith("-b") else PaperResult(PUBLISHED[entry.row.depth], protocol="whole image")
        )


@pytest.mark.parametrize("depth", [pytest.param(d, marks=[pytest.mark.slow] if d > 1000 else []) for d in WITH_BIAS])
def test_biases_add_one_number_for_each_map_of_each_block(depth: int) -> None:
    assert WITH_BIAS[depth] == by_hand(depth, "B") + (depth - 2) // 6 * sum((16, 32, 64))
    with torch.device("meta"):
        network = ResNetCifar(Row(depth, "B", bias=True))
    assert parameters(network) == WITH_BIAS[depth]


def test_only_the_second_convolution_of_a_block_has_biases_and_they_begin_at_0() -> None:
    network = ResNetCifar(Row(8, "B", widths=(2, 3, 4), bias=True))
    convolutions = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    biased = [name for name, m in convolutions.items() if m.bias is not None]
    assert biased == [f"features.{i}.residual.3" for i in (3, 4, 5)]
    assert all(convolutions[name].get_parameter("bias").count_nonzero() == 0 for name in biased)


@pytest.mark.parametrize("depth", [20, 32, 110])
@pytest.mark.parametrize("option", ["A", "B"])
def test_depth_counts_layers_with_weights(depth: int, option: str) -> None:
    with torch.device("meta"):
        network = ResNetCifar(Row(depth, option))  # type: ignore[arg-type]
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len([m for m in layers if isinstance(m, nn.Linear) or m.kernel_size == (3, 3)]) == depth
    assert len([m for m in layers if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]) == (
        2 if option == "B" else 0
    )
    assert all(m.bias is None for m in layers if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("depth", [-4, 0, 2, 7, 21, 49])
def test_a_depth_that_is_not_6n_plus_2_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"depth is {depth}; it must be 6n \+ 2, such as \d+ or \d+"):
        ResNetCifar(Row(depth))


def test_a_wrong_row_is_refused_with_a_fix() -> None:
    with pytest.raises(UserError, match=r"resnet-cifar-20 cannot be built .* 6n \+ 2, such as 20 or 26"):
        create(Model("resnet-cifar-20", {"depth": 21}), ["a", "b"])
    with pytest.raises(UserError, match="option is 'C'; it must be one of 'A', 'B'"):
        create(Model("resnet-cifar-20", {"option": "C"}), ["a", "b"])


def test_decreasing_widths_need_projections() -> None:
    with pytest.raises(ValueError, match="use option B"):
        ResNetCifar(Row(8, widths=(8, 4, 4)))
    assert ResNetCifar(Row(8, "B", widths=(8, 4, 4))).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_a_block_with_a_silent_residual_is_its_shortcut() -> None:
    block = BasicBlock(3, 5, 2, Subsample(2, 2)).eval()
    nn.init.zeros_(block.residual[-1].get_parameter("weight"))
    maps = torch.rand(2, 3, 8, 8)
    assert_near(block(maps), block.shortcut(maps))
    assert torch.equal(maps, maps.clamp_min(0))  # the block does not change its input in place
    nn.init.ones_(block.residual[-1].get_parameter("weight"))
    assert not near(block(maps), block.shortcut(maps), 1e-3)


def test_a_block_matches_its_formula_and_keeps_its_input() -> None:
    torch.manual_seed(0)
    block, maps = BasicBlock(4, 4, 1, nn.Identity()).eval(), torch.randn(2, 4, 6, 6)
    before = maps.clone()
    first, norm, _, second, last = block.residual
    expected = functional.relu(last(second(functional.relu(norm(first(maps))))) + maps)
    assert_near(block(maps), expected)
    assert torch.equal(maps, before)


def test_blocks_of_resnet_have_the_published_number_of_parameters() -> None:
    assert parameters(BasicBlock(64, 64, 1, nn.Identity())) == 73_984
    assert parameters(BasicBlock(256, 256, 1, nn.Identity())) == 1_180_672


def test_maps_are_32_16_and_8_pixels_wide() -> None:
    network, sides = ResNetCifar(Row(14, widths=(2, 3, 4))).eval(), []
    maps = torch.zeros(1, 3, 32, 32)
    for layer in network.features:  # type: ignore[attr-defined]
        maps = layer(maps)
        sides += [maps.shape[3]] if isinstance(layer, BasicBlock) else []
    assert sides == [32, 32, 16, 16, 8, 8]


@pytest.mark.parametrize("option", ["A", "B"])
def test_dense_slides_the_mean_over_larger_maps(option: str) -> None:
    torch.manual_seed(0)
    network, images = ResNetCifar(Row(8, option, (4, 6, 8))).eval(), torch.rand(2, 3, 40, 48)  # type: ignore[arg-type]
    maps, dense = network.features(network.prepare(images)), network.dense(images)
    assert dense.shape == (2, 10, 3, 5)
    for y in range(3):
        for x in range(5):
            assert_near(dense[:, :, y, x], network.head(maps[:, :, y : y + 8, x : x + 8]))
    assert not near(dense[:, :, 0, 0], dense[:, :, 2, 4], 1e-3)


@pytest.mark.parametrize(("size", "side"), [(1, 1), (31, 8), (33, 9), (64, 16)])
def test_other_sizes_work(size: int, side: int) -> None:
    network = ResNetCifar(Row(8, widths=(2, 3, 4), size=size)).eval()
    images = torch.rand(2, 3, size, size)
    assert network.features(images).shape[2:] == (side, side)
    assert network(images).shape == (2, 10)
    with pytest.raises(ValueError, match="the smallest that works is 1"):
        ResNetCifar(Row(8, size=0))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("features.0.weight", "conv1.weight"),
        ("features.1.running_mean", "bn1.running_mean"),
        ("features.3.residual.0.weight", "layer1.0.conv1.weight"),
        ("features.5.residual.4.bias", "layer1.2.bn2.bias"),
        ("features.6.residual.1.num_batches_tracked", "layer2.0.bn1.num_batches_tracked"),
        ("features.11.residual.3.weight", "layer3.2.conv2.weight"),
        ("head.2.bias", "linear.bias"),
    ],
)
def test_names_are_those_of_akamaster(ours: str, theirs: str) -> None:
    foreign = NETS["resnet-cifar-20"].foreign["akamaster"]
    assert (foreign.name, dict(foreign.row)) == ("resnet20", {"zeros": "both"})
    assert foreign.rename(ours) == theirs
    assert ours in ResNetCifar(Row(20)).state_dict()


def test_akamaster_has_only_option_a() -> None:
    assert {name for name, entry in NETS.items() if entry.foreign} == {f"resnet-cifar-{d}" for d in PUBLISHED}


def test_zeros_at_both_ends_change_the_scores() -> None:
    torch.manual_seed(0)
    one, images = ResNetCifar(Row(8, widths=(4, 8, 16))).eval(), torch.rand(2, 3, 32, 32)
    other = ResNetCifar(Row(8, widths=(4, 8, 16), zeros="both")).eval()
    other.load_state_dict(one.state_dict())
    assert not near(one(images), other(images), 1e-3)


def test_convolutions_begin_with_variance_two_over_fan_in() -> None:
    torch.manual_seed(0)
    for layer in ResNetCifar(Row(8, "B")).modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.var().item() == pytest.approx(2 / layer.weight[0].numel(), rel=0.25)


def test_it_can_memorise_eight_images() -> None:
    torch.manual_seed(0)
    network, images, labels = ResNetCifar(Row(8, widths=(8, 8, 16))), torch.rand(8, 3, 32, 32), torch.arange(8)
    network.normalise((0.5,), (0.3,))
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    for _ in range(30):
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    assert (network(images).argmax(1) == labels).all()
