"""GoogLeNet: Table 1 by hand, 22 layers, normalisation and auxiliary heads, names in other libraries."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.models.classifier import create
from imclass.models.entry import PaperResult
from imclass.models.layers.branches import Branches
from imclass.models.layers.dropout import Dropout
from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.nets.googlenet import NETS, GoogLeNet, Row
from imclass.models.network import Network
from tests.support.outline import count, outline, shapes
from tests.support.tolerance import assert_near

# Of each block: w_in; 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection.
TABLE = {
    "3a": (192, 64, 96, 128, 16, 32, 32), "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64), "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64), "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128), "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}  # fmt: skip
OUTPUTS = {"3a": 256, "3b": 480, "4a": 512, "4b": 512, "4c": 512, "4d": 528, "4e": 832, "5a": 832, "5b": 1024}
STEM = [(3, 49, 64), (64, 1, 64), (64, 9, 192)]
NARROW = Row(size=80, width=0.125)


def convolutions(kernel: int = 25) -> list[tuple[int, int, int]]:
    """Return (maps in, elements of the kernel, maps out) of each convolution in Table 1."""
    layers = list(STEM)
    for w_in, one, reduce3, three, reduce5, five, projection in TABLE.values():
        layers += [(w_in, 1, one), (w_in, 1, reduce3), (reduce3, 9, three)]
        layers += [(w_in, 1, reduce5), (reduce5, kernel, five), (w_in, 1, projection)]
    return layers


def naive() -> tuple[list[tuple[int, int, int]], dict[str, int]]:
    """Return the same for the blocks of figure 2a, and each block's number of output maps."""
    layers, maps, w_in = list(STEM), {}, 192
    for name, (_, one, _, three, _, five, _) in TABLE.items():
        layers += [(w_in, 1, one), (w_in, 9, three), (w_in, 25, five)]
        w_in += one + three + five
        maps[name] = w_in
    return layers, maps


def total(layers: list[tuple[int, int, int]], w_out: int, extra: int = 1) -> int:
    """Count parameters with `extra` numbers per map (1 for a bias, 2 for batch norm), including the classifier."""
    return sum((w_in * kernel + extra) * out for w_in, kernel, out in layers) + (w_out + 1) * 1000


def heads(*maps: int, extra: int = 1) -> int:
    """Count the parameters of auxiliary heads on these numbers of maps."""
    return sum((w_in + extra) * 128 + (2048 + 1) * 1024 + (1024 + 1) * 1000 for w_in in maps)


def main(network: Network) -> int:
    return count(network) - count(network.sides)


def test_parameters_are_those_of_table_1_by_hand() -> None:
    network = outline(NETS["googlenet"])
    assert main(network) == total(convolutions(), 1024) == NETS["googlenet"].parameters == 6_998_552
    assert count(network) == 6_998_552 + heads(512, 528) == 13_378_280


def test_parameters_of_the_variant_of_torchvision_are_those_by_hand() -> None:
    network = outline(NETS["googlenet-bn"])
    assert main(network) == total(convolutions(9), 1024, 2) == NETS["googlenet-bn"].parameters == 6_624_904
    assert count(network) == 6_624_904 + heads(512, 528, extra=2) == 13_004_888


def test_naive_blocks_accumulate_maps_and_parameters() -> None:
    layers, maps = naive()
    network = outline(NETS["googlenet-naive"])
    assert main(network) == total(layers, maps["5b"]) == NETS["googlenet-naive"].parameters
    assert count(network.sides) == heads(maps["4a"], maps["4d"])
    found = shapes(network)
    assert {name: found[f"inception{name}"][0] for name in TABLE} == maps
    assert maps["5b"] == 4_944


def test_maps_are_those_of_table_1() -> None:
    found = shapes(outline(NETS["googlenet"]))
    assert {name: found[f"inception{name}"][0] for name in TABLE} == OUTPUTS
    assert [found[name] for name in ("conv1", "pool1", "conv2", "conv3", "pool2")] == [
        (64, 112), (64, 56), (64, 56), (192, 56), (192, 28)
    ]  # fmt: skip
    assert [found[name] for name in ("pool3", "pool4", "inception5b")] == [(480, 14), (832, 7), (1024, 7)]
    assert shapes(outline(NETS["googlenet-bn"])) == {k: v for k, v in found.items() if not k.startswith("norm")}


def test_pooling_without_incomplete_windows_would_not_give_table_1() -> None:
    network = outline(NETS["googlenet"])
    for layer in network.features:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = False
    found = shapes(network)
    assert [found[name][1] for name in ("pool1", "pool2", "pool3", "pool4")] == [55, 27, 13, 6]


def depth(layer: nn.Module) -> int:
    """Count the layers with weights on the longest path."""
    if isinstance(layer, Branches):
        return max(depth(branch) for branch in layer.values())
    if isinstance(layer, nn.Sequential):
        return sum(depth(child) for child in layer)
    return int(isinstance(layer, nn.Conv2d | nn.Linear))


def test_it_is_22_layers_deep() -> None:
    network = outline(NETS["googlenet"])
    assert depth(network.features) + depth(network.head) == 22
    assert sum(isinstance(m, nn.Conv2d) for m in network.features.modules()) == 3 + 9 * 6
    assert sum(isinstance(m, Branches) for m in network.features) == 9
    assert depth(outline(NETS["googlenet-naive"]).features) == 3 + 9


def rates(layers: nn.Module) -> list[float]:
    return [layer.p for layer in layers.modules() if isinstance(layer, Dropout)]


def test_layers_are_in_the_published_order() -> None:
    network = outline(NETS["googlenet"])
    names = [name for name, _ in network.features.named_children()]
    assert names[:7] == ["conv1", "pool1", "norm1", "conv2", "conv3", "norm2", "pool2"]
    assert [names.index(n) - len(names) for n in ("pool3", "pool4")] == [-9, -3]
    norms = [m for m in network.modules() if isinstance(m, LocalResponseNorm)]
    assert [(m.n, m.k, m.alpha, m.beta) for m in norms] == [(5, 2.0, 1e-4, 0.75)] * 2
    assert [type(m) for m in network.head] == [nn.AvgPool2d, Dropout, nn.Flatten, nn.Linear]
    assert rates(network.head) == [0.4]
    assert rates(network.sides) == [0.7, 0.7]


def test_the_variant_of_torchvision_differs_as_documented() -> None:
    network = outline(NETS["googlenet-bn"])
    kinds = {type(m) for m in network.modules()}
    assert LocalResponseNorm not in kinds
    assert {m.eps for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    assert all(m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d))
    assert {m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)} == {(1, 1), (3, 3), (7, 7)}
    assert network.features.get_submodule("pool4").kernel_size == 2
    assert (rates(network.head), rates(network.sides)) == ([0.2], [0.7, 0.7])
    assert [type(side[0]) for side in network.sides.values() if isinstance(side, nn.Sequential)] == [
        nn.AdaptiveAvgPool2d
    ] * 2


@pytest.fixture(scope="module")
def narrow() -> GoogLeNet:
    torch.manual_seed(0)
    return GoogLeNet(NARROW, classes=5)


def test_a_block_concatenates_its_four_branches(narrow: GoogLeNet) -> None:
    block, maps = narrow.features.get_submodule("inception3a"), torch.rand(2, 24, 7, 7)

    def unit(name: str, x: Tensor) -> Tensor:
        conv = block.get_submodule(f"{name}.conv")
        assert isinstance(conv, nn.Conv2d)
        return functional.conv2d(x, conv.weight, conv.bias, padding=conv.kernel_size[0] // 2).relu()

    expected = [
        unit("branch1", maps),
        unit("branch2.1", unit("branch2.0", maps)),
        unit("branch3.1", unit("branch3.0", maps)),
        unit("branch4.1", functional.max_pool2d(maps, 3, 1, 1)),
    ]
    assert_near(block(maps), torch.cat(expected, 1))
    assert [x.shape[1] for x in expected] == [8, 16, 8, 8]


def test_a_naive_block_passes_pooled_maps_on() -> None:
    block = GoogLeNet(replace(NARROW, reduced=False), 5).features.get_submodule("inception3a")
    maps = torch.rand(2, 24, 7, 7)
    assert_near(block(maps)[:, -24:], functional.max_pool2d(maps, 3, 1, 1))


def test_training_has_three_outputs_and_evaluation_has_one(narrow: GoogLeNet) -> None:
    images = torch.rand(4, 3, 80, 80)
    scores = narrow.train()(images)
    assert isinstance(scores, tuple)
    assert [s.shape for s in scores] == [(4, 5)] * 3
    alone = narrow.eval()(images)
    assert isinstance(alone, Tensor)
    assert narrow.side_weight == 0.3


@pytest.mark.parametrize(("name", "maps"), [("inception4a", 512), ("inception4d", 528)])
def test_an_auxiliary_head_is_that_of_section_5(name: str, maps: int) -> None:
    side = outline(NETS["googlenet"]).sides[name]
    x, found = torch.empty(1, maps, 14, 14, device="meta"), []
    for layer in side.children():
        x = layer(x)
        found.append(tuple(x.shape[1:]))
    assert found == [(maps, 4, 4), (128, 4, 4), (2048,), (1024,), (1024,), (1024,), (1000,)]
    kinds = [nn.AvgPool2d, nn.Sequential, nn.Flatten, nn.Linear, nn.ReLU, Dropout, nn.Linear]
    assert [type(layer) for layer in side.children()] == kinds
    pool = side.get_submodule("pool")
    assert (pool.kernel_size, pool.stride) == (5, 3)


def test_an_auxiliary_head_sees_the_maps_of_its_block(narrow: GoogLeNet) -> None:
    images = torch.rand(2, 3, 80, 80)
    narrow.train()
    for layer in narrow.modules():
        if isinstance(layer, Dropout):
            layer.eval()
    maps, expected = narrow.prepare(images), []
    for name, layer in narrow.features.named_children():
        maps = layer(maps)
        if name in ("inception4a", "inception4d"):
            expected.append(narrow.sides[name](maps))
    for scores, by_hand in zip(narrow(images), (narrow.head(maps), *expected), strict=True):
        assert_near(scores, by_hand)


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_gradient_of_the_weighted_loss_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    network = GoogLeNet(replace(NETS[name].row, size=80, width=0.125), 5)
    scores, *sides = network.train()(torch.rand(8, 3, 80, 80))
    losses = [functional.cross_entropy(s, torch.arange(8) % 5) for s in (scores, *sides)]
    (losses[0] + network.side_weight * torch.stack(losses[1:]).sum()).backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []


@pytest.mark.parametrize("size", [79, 112, 160])
def test_other_sizes_work(size: int) -> None:
    network = GoogLeNet(replace(NARROW, size=size), 5)
    scores = network.train()(torch.rand(2, 3, size, size))
    assert [s.shape for s in scores] == [(2, 5)] * 3


def test_maps_too_small_for_the_auxiliary_heads_are_refused() -> None:
    classes = ["a", "b"]
    with pytest.raises(UserError, match=r"size is 78, but the smallest that works is 79 with auxiliary heads"):
        create(Model("googlenet", {"size": 78, "width": 0.125}), classes)
    assert create(Model("googlenet", {"size": 78, "width": 0.125, "aux": False}), classes).network.sides.keys() == set()
    with pytest.raises(UserError, match=r"size is 30, but the smallest that works is 31$"):
        create(Model("googlenet", {"size": 30, "width": 0.125, "aux": False}), classes)


def test_initial_weights_and_biases_are_those_of_the_caffe_model(narrow: GoogLeNet) -> None:
    zeros = []
    for name, layer in narrow.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.bias is not None
            bound = (3 / layer.weight[0].numel()) ** 0.5
            assert 0.9 * bound < layer.weight.abs().max() <= bound
            zeros += [name] if (layer.bias == 0).all() else []
            assert name in zeros or (layer.bias == 0.2).all()
    assert zeros == ["sides.inception4a.fc2", "sides.inception4d.fc2", "head.3"]


def test_caffe_names_tensors_by_layer_and_column_of_the_table() -> None:
    caffe = NETS["googlenet"].foreign["caffe"]
    columns = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
    layers = ["conv1.7x7_s2", "conv2.3x3_reduce", "conv2.3x3", "loss3.classifier"]
    layers += [f"inception_{block}.{column}" for block in TABLE for column in columns]
    entry = NETS["googlenet"]
    with torch.device("meta"):
        network = entry.build(replace(entry.row, **caffe.row), 1000, 3)
    theirs = {caffe.rename(name): tuple(p.shape) for name, p in network.named_parameters()}
    assert set(theirs) == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert len(theirs) == 116
    assert theirs["inception_4d.5x5.weight"] == (64, 32, 5, 5)
    assert theirs["inception_3b.pool_proj.weight"] == (64, 256, 1, 1)
    norms = [m for m in network.modules() if isinstance(m, LocalResponseNorm)]
    assert [(m.k, m.alpha * m.n) for m in norms] == [(1.0, pytest.approx(1e-4))] * 2


def test_torchvision_names_tensors_by_branch() -> None:
    rename = NETS["googlenet-bn"].foreign["torchvision"].rename
    state = outline(NETS["googlenet-bn"]).state_dict()
    theirs = {rename(name): tuple(t.shape) for name, t in state.items() if name not in ("mean", "std")}
    assert len(theirs) == len(state) - 2 == 364
    assert theirs["conv1.bn.running_mean"] == (64,)
    assert theirs["inception3a.branch2.1.conv.weight"] == (128, 96, 3, 3)
    assert theirs["inception5b.branch4.1.bn.weight"] == (128,)
    assert theirs["aux2.conv.conv.weight"] == (128, 528, 1, 1)
    assert theirs["aux1.fc1.weight"] == (1024, 2048)
    assert theirs["fc.bias"] == (1000,)


def test_the_error_is_that_of_the_paper() -> None:
    assert NETS["googlenet"].result == PaperResult(top5=10.07, protocol="1 crop")
    assert NETS["googlenet-naive"].result is NETS["googlenet-bn"].result is None


def test_it_can_memorise_eight_images() -> None:
    torch.manual_seed(0)
    network = GoogLeNet(replace(NETS["googlenet-bn"].row, size=32, width=0.125, dropout=0.0, aux=False), 8)
    images, labels = torch.rand(8, 3, 32, 32), torch.arange(8)
    network.normalise((0.5,), (0.3,))
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(25):
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    assert (network(images).argmax(1) == labels).all()
