"""Inception-v3: the released network's layers by hand, its auxiliary head, and names in torchvision and timm."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.models.classifier import create
from imclass.models.entry import PaperResult
from imclass.models.layers.dropout import Dropout
from imclass.models.nets.inception_v3 import NETS, InceptionV3, Row
from imclass.models.network import Network
from tests.support.outline import count, outline, shapes

Layers = list[tuple[int, int, int]]  # maps in, elements of the kernel, maps out
STEM: Layers = [(3, 9, 32), (32, 9, 32), (32, 9, 64), (64, 1, 80), (80, 9, 192)]


def block_a(w: int, pool: int) -> Layers:
    tower = [(w, 1, 64), (64, 9, 96), (96, 9, 96)]
    return [(w, 1, 64), (w, 1, 48), (48, 25, 64), *tower, (w, 1, pool)]


def block_b(c: int) -> Layers:
    return [
        (768, 1, 192),
        (768, 1, c),
        (c, 7, c),
        (c, 7, 192),
        (768, 1, c),
        *[(c, 7, c)] * 3,
        (c, 7, 192),
        (768, 1, 192),
    ]


def block_c(w: int) -> Layers:
    fork = [(384, 3, 384), (384, 3, 384)]
    return [(w, 1, 320), (w, 1, 384), *fork, (w, 1, 448), (448, 9, 384), *fork, (w, 1, 192)]


LAYERS: Layers = [
    *STEM, *block_a(192, 32), *block_a(256, 64), *block_a(288, 64),
    (288, 9, 384), (288, 1, 64), (64, 9, 96), (96, 9, 96),
    *block_b(128), *block_b(160), *block_b(160), *block_b(192),
    (768, 1, 192), (192, 9, 320), (768, 1, 192), (192, 7, 192), (192, 7, 192), (192, 9, 192),
    *block_c(1280), *block_c(2048),
]  # fmt: skip


@pytest.fixture(scope="module")
def full() -> Network:
    return outline(NETS["inception-v3"])


def test_parameters_are_those_of_the_layers_by_hand(full: Network) -> None:
    expected = sum((a * kernel + 2) * b for a, kernel, b in LAYERS) + 2049 * 1000
    side = (768 + 2) * 128 + (128 * 25 + 2) * 768 + 769 * 1000
    assert count(full) - count(full.sides) == expected == NETS["inception-v3"].parameters == 23_834_568
    assert count(full) == expected + side == 27_161_264
    assert side == 3_326_696


def test_maps_are_35_17_and_8_pixels_wide(full: Network) -> None:
    found = shapes(full)
    stem = {"Conv2d_1a_3x3": (32, 149), "Conv2d_2a_3x3": (32, 147), "Conv2d_2b_3x3": (64, 147), "maxpool1": (64, 73)}
    stem |= {"Conv2d_3b_1x1": (80, 73), "Conv2d_4a_3x3": (192, 71), "maxpool2": (192, 35)}
    first = {"Mixed_5b": (256, 35), "Mixed_5c": (288, 35), "Mixed_5d": (288, 35)}
    second = {f"Mixed_6{x}": (768, 17) for x in "abcde"}
    assert found == stem | first | second | {"Mixed_7a": (1280, 8), "Mixed_7b": (2048, 8), "Mixed_7c": (2048, 8)}


def test_the_head_has_a_mean_over_8_by_8_and_dropout_of_a_half(full: Network) -> None:
    assert [type(m) for m in full.head] == [nn.AvgPool2d, Dropout, nn.Flatten, nn.Linear]
    pool, dropout = full.head[0], full.head[1]
    assert (pool.kernel_size, dropout.p) == (8, 0.5)
    assert {m.eps for m in full.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


def test_means_count_padding_as_zeros(full: Network) -> None:
    means = [m for m in full.features.modules() if isinstance(m, nn.AvgPool2d)]
    assert len(means) == 3 + 4 + 2
    assert all(m.count_include_pad and m.padding == 1 for m in means)


def test_the_auxiliary_head_is_that_of_figure_8(full: Network) -> None:
    side, found = full.sides["Mixed_6e"], []
    maps = torch.empty(1, 768, 17, 17, device="meta")
    for layer in side.children():
        maps = layer(maps)
        found.append(tuple(maps.shape[1:]))
    assert found == [(768, 5, 5), (768, 1, 1), (768, 1, 1), (768,), (1000,)]
    assert [m.kernel_size for m in side.modules() if isinstance(m, nn.Conv2d)] == [(1, 1), (5, 5)]
    assert full.side_weight == 0.4


def test_training_has_two_outputs_and_gradients_everywhere() -> None:
    torch.manual_seed(0)
    network, images = InceptionV3(Row(width=0.05), 3), torch.rand(2, 3, 299, 299)
    scores, side = network.train()(images)
    assert scores.shape == side.shape == (2, 3)
    labels = torch.tensor([0, 2])
    (functional.cross_entropy(scores, labels) + 0.4 * functional.cross_entropy(side, labels)).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    assert isinstance(network.eval()(images), Tensor)


def test_maps_too_small_for_the_auxiliary_head_are_refused() -> None:
    with pytest.raises(UserError, match=r"size is 107, but the smallest that works is 299 with auxiliary heads"):
        create(Model("inception-v3", {"size": 107, "width": 0.05}), ["a", "b"])
    small = Row(size=107, width=0.05, aux=False)
    assert InceptionV3(small, 3).eval()(torch.rand(1, 3, 107, 107)).shape == (1, 3)
    with pytest.raises(ValueError, match=r"size is 74, but the smallest that works is 75$"):
        InceptionV3(replace(small, size=74), 3)


def test_other_libraries_name_tensors_by_branch_and_number(full: Network) -> None:
    foreign = NETS["inception-v3"].foreign
    state = {name: t for name, t in full.state_dict().items() if name not in ("mean", "std")}
    theirs = {foreign["torchvision"].rename(name): tuple(t.shape) for name, t in state.items()}
    assert len(theirs) == len(state) == 580
    assert theirs["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert theirs["Mixed_5b.branch1x1.bn.running_var"] == (64,)
    assert theirs["Mixed_5b.branch_pool.conv.weight"] == (32, 192, 1, 1)
    assert theirs["Mixed_6c.branch7x7_2.conv.weight"] == (160, 160, 1, 7)
    assert theirs["Mixed_6c.branch7x7_3.conv.weight"] == (192, 160, 7, 1)
    assert theirs["Mixed_6c.branch7x7dbl_2.conv.weight"] == (160, 160, 7, 1)
    assert theirs["Mixed_6c.branch7x7dbl_5.conv.weight"] == (192, 160, 1, 7)
    assert theirs["Mixed_7a.branch7x7x3_4.bn.bias"] == (192,)
    assert theirs["Mixed_7c.branch3x3dbl_3a.conv.weight"] == (384, 384, 1, 3)
    assert theirs["Mixed_7c.branch3x3_2b.bn.weight"] == (384,)
    assert theirs["AuxLogits.conv1.conv.weight"] == (768, 128, 5, 5)
    assert theirs["AuxLogits.fc.bias"] == theirs["fc.bias"] == (1000,)
    assert foreign["timm"].row == {"aux": False}
    assert foreign["timm"].rename is foreign["torchvision"].rename


def test_the_errors_are_those_of_the_paper() -> None:
    assert NETS["inception-v3"].result == PaperResult(21.2, 5.6, "1 crop, without blacklisted images")
