"""NIN: parameters by hand, scores as means of class maps, the authors' initial weights."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from imclass.models.layers.dropout import Dropout
from imclass.models.nets.nin import NETS, NIN, Row
from tests.support.outline import count, outline, shapes
from tests.support.tolerance import assert_near

TINY = Row(32, ((12, 10, 8), (8, 8, 8), (8, 8)), (5, 5, 3), (1, 1, 1), (2, 2, 1), (0.5, 0.5), init_std=0.3)
CIFAR = [(3, 5, 192), (192, 1, 160), (160, 1, 96), (96, 5, 192), (192, 1, 192), (192, 1, 192)]
CIFAR += [(192, 3, 192), (192, 1, 192), (192, 1, 10)]
IMAGENET = [(3, 11, 96), (96, 1, 96), (96, 1, 96), (96, 5, 256), (256, 1, 256), (256, 1, 256), (256, 3, 384)]
IMAGENET += [(384, 1, 384), (384, 1, 384), (384, 3, 1024), (1024, 1, 1024), (1024, 1, 1000)]


@pytest.mark.parametrize(
    ("name", "layers", "known"), [("nin-cifar", CIFAR, 966_986), ("nin-imagenet", IMAGENET, 7_595_176)]
)
def test_parameters_are_those_of_the_layers_by_hand(name: str, layers: list[tuple[int, int, int]], known: int) -> None:
    network = outline(NETS[name])
    assert count(network) == sum((a * k * k + 1) * b for a, k, b in layers) == known == NETS[name].parameters
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.kernel_size[0], m.out_channels) for m in convolutions] == layers
    assert not any(isinstance(m, nn.Linear) for m in network.modules())


def test_every_convolution_has_its_relu() -> None:
    for entry in NETS.values():
        layers = [m for part in (outline(entry).features, outline(entry).head) for m in part]
        after = [type(b) for a, b in pairwise(layers) if isinstance(a, nn.Conv2d)]
        assert set(after) == {nn.ReLU}


def test_pooling_halves_the_sides_and_rounds_up() -> None:
    found = shapes(outline(NETS["nin-cifar"]))
    assert [found[name] for name in ("conv1", "pool1", "pool2", "cccp5")] == [(192, 32), (96, 16), (192, 8), (192, 8)]
    found = shapes(outline(NETS["nin-imagenet"]))
    names = ("conv1", "pool1", "pool2", "pool3", "cccp7")
    assert [found[name] for name in names] == [(96, 54), (96, 27), (256, 13), (384, 6), (1024, 6)]


def test_pooling_that_rounds_down_would_leave_7_pixels_instead_of_8() -> None:
    network = outline(NETS["nin-cifar"])
    for layer in network.features:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = False
    assert shapes(network)["cccp5"] == (192, 7)


def test_dropout_follows_poolings() -> None:
    names = {name: [n for n, _ in outline(NETS[name]).features.named_children()] for name in NETS}
    before = {name: [a for a, b in pairwise(n) if b.startswith("drop")] for name, n in names.items()}
    assert before == {"nin-cifar": ["pool1", "pool2"], "nin-imagenet": ["pool3"]}
    assert {m.p for entry in NETS.values() for m in outline(entry).modules() if isinstance(m, Dropout)} == {0.5}


def test_scores_are_the_means_of_class_maps() -> None:
    torch.manual_seed(0)
    network, images = NIN(TINY, 5).eval(), torch.rand(2, 3, 32, 32)
    maps = network.features(network.prepare(images))
    for layer in list(network.head)[:2]:
        maps = layer(maps)
    assert maps.shape == (2, 5, 8, 8)
    assert maps.min() == 0 < maps.max()
    assert_near(network(images), maps.sum((2, 3)) / 64)


def test_embed_is_the_mean_of_the_maps_below_the_class_maps() -> None:
    torch.manual_seed(0)
    network, images = NIN(TINY, 5).eval(), torch.rand(2, 3, 32, 32)
    assert_near(network.embed(images), network.features(network.prepare(images)).mean((2, 3)))


def test_dense_slides_the_mean_over_a_larger_image() -> None:
    torch.manual_seed(0)
    network, images = NIN(TINY, 5).eval(), torch.rand(2, 3, 40, 36)
    maps = network.head[1](network.head[0](network.features(network.prepare(images))))
    dense = network.dense(images)
    assert maps.shape == (2, 5, 10, 9)
    assert dense.shape == (2, 5, 3, 2)
    for y in range(3):
        for x in range(2):
            assert_near(dense[:, :, y, x], maps[:, :, y : y + 8, x : x + 8].mean((2, 3)))


@pytest.mark.parametrize("name", sorted(NETS))
def test_initial_weights_are_those_of_the_authors_files(name: str) -> None:
    torch.manual_seed(0)
    entry = NETS[name]
    network = entry.build(entry.row, entry.classes, 3)
    stds = {n: round(m.weight.std().item(), 3) for n, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    fine = {"features.conv1", "features.conv3", "head.cccp8"} if name == "nin-imagenet" else set()
    assert stds == {n: 0.01 if n in fine else 0.05 for n in stds}
    assert all((p == 0).all() for n, p in network.named_parameters() if n.endswith("bias"))


def test_a_size_that_leaves_nothing_is_refused() -> None:
    row = NETS["nin-imagenet"].row
    with torch.device("meta"), pytest.raises(ValueError, match="size is 38, but the smallest that works is 39"):
        NIN(Row(38, row.widths, row.kernels, row.strides, row.paddings, row.dropout))
