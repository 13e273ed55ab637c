"""SPP-nets: parameters by hand, the sides of Table 1, a second implementation, and weights that fit several sizes."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imclass.core.config import Model
from imclass.models.classifier import create
from imclass.models.nets.spp import NETS, Row, SPPNet
from tests.support.outline import count, outline, shapes
from tests.support.tolerance import assert_near

every_network = pytest.mark.parametrize("name", NETS)


def make_narrow(name: str, size: int, bins: tuple[int, ...] = (1, 2, 3, 6)) -> SPPNet:
    torch.manual_seed(0)
    row = NETS[name].row
    narrow = replace(row, widths=tuple(w // 16 for w in row.widths), hidden=(9, 8), size=size, bins=bins)
    return SPPNet(narrow, 5).eval()


def normalise(maps: Tensor) -> Tensor:
    """Divide by (1 + 5e-5 * mean of 3 x 3 squares)^0.75 within each channel; the border is surrounded by zeros."""
    squares, total = functional.pad(maps.square(), (1, 1, 1, 1)), torch.zeros_like(maps)
    for y in range(3):
        for x in range(3):
            total += squares[:, :, y : y + maps.shape[2], x : x + maps.shape[3]]
    return maps / (1 + 5e-5 * total / 9) ** 0.75


def scores_by_hand(row: Row, tensors: dict[str, Tensor], images: Tensor) -> Tensor:
    """Return scores from functions of PyTorch, with one loop over the bins of the pyramid and without dropout."""
    maps = images
    for n in range(1, len(row.widths) + 1):
        stride, padding = {1: (2, 1), 2: (row.stride2, row.padding2)}.get(n, (1, 1))
        weight, bias = tensors[f"features.conv{n}.weight"], tensors[f"features.conv{n}.bias"]
        maps = functional.conv2d(maps, weight, bias, stride, padding).clamp_min(0)
        if n <= 2:
            maps = normalise(maps) if row.norm_first else maps
            window, step = row.pools[n - 1]
            missing = -(maps.shape[2] - window) % step if row.ceil_mode else 0  # rows that the last window lacks
            maps = functional.max_pool2d(functional.pad(maps, (0, missing, 0, missing), value=-math.inf), window, step)
            maps = maps if row.norm_first or n == 2 else normalise(maps)
    side, pooled = maps.shape[2], []
    for level in row.bins:
        ends = [(math.floor(i * side / level), math.ceil((i + 1) * side / level)) for i in range(level)]
        bins = [maps[:, :, y0:y1, x0:x1].amax((2, 3)) for y0, y1 in ends for x0, x1 in ends]
        pooled.append(torch.stack(bins, 2).flatten(1))
    vector = torch.cat(pooled, 1)
    for n in (6, 7, 8):
        vector = vector @ tensors[f"head.fc{n}.weight"].T + tensors[f"head.fc{n}.bias"]
        vector = vector if n == 8 else vector.clamp_min(0)
    return vector


@pytest.mark.parametrize(
    ("name", "deep", "known"),
    [("spp-zf-5", (384, 384, 256), 77_037_672), ("spp-overfeat-7", (512,) * 5, 136_988_264)],
)
def test_parameters_are_those_of_the_layers_by_hand(name: str, deep: tuple[int, ...], known: int) -> None:
    total, w_in = (3 * 49 + 1) * 96 + (96 * 25 + 1) * 256, 256
    for w_out in deep:
        total += (w_in * 9 + 1) * w_out
        w_in = w_out
    total += (50 * w_in + 1) * 4096 + 4097 * 4096 + 4097 * 1000
    assert count(outline(NETS[name])) == total == known == NETS[name].parameters


@pytest.mark.parametrize(
    ("name", "layers", "sides"),
    [
        ("spp-zf-5", ("conv1", "pool1", "conv2", "pool2", "conv5"), (110, 55, 26, 13, 13)),
        ("spp-overfeat-7", ("conv1", "pool1", "conv2", "pool2", "conv7"), (110, 36, 36, 18, 18)),
    ],
)
def test_maps_are_those_of_table_1(name: str, layers: tuple[str, ...], sides: tuple[int, ...]) -> None:
    network = outline(NETS[name])
    found = shapes(network)
    assert tuple(found[layer][1] for layer in layers) == sides
    assert network.head[:2](torch.empty(2, 4, sides[-1], sides[-1])).shape == (2, 4 * 50)


def test_normalisation_is_before_the_poolings_of_zf_5_and_after_the_first_of_overfeat_7() -> None:
    names = {name: [n for n, _ in outline(NETS[name]).features.named_children()][:8] for name in NETS}
    assert names["spp-zf-5"] == ["conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2"]
    assert names["spp-overfeat-7"] == ["conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "conv3"]


@every_network
def test_scores_match_a_second_implementation(name: str) -> None:
    network = make_narrow(name, size=119)
    images = 200 * torch.randn(2, 3, 119, 119)  # so large that the normalisation matters
    row = replace(NETS[name].row, widths=tuple(w // 16 for w in NETS[name].row.widths))
    with torch.inference_mode():
        assert_near(network(images), scores_by_hand(row, network.state_dict(), images))


@every_network
def test_the_same_weights_fit_images_of_180_pixels(name: str) -> None:
    """Section 2.3 trains with 224 and 180 pixels in turn. The maps of the latter have 10 x 10 pixels in ZF-5."""
    large, small = make_narrow(name, 224), make_narrow(name, 180)
    assert shapes(small)["conv5"][1] == {"spp-zf-5": 10, "spp-overfeat-7": 14}[name]
    small.load_state_dict(large.state_dict())
    images = 200 * torch.randn(1, 3, 180, 180)
    row = replace(NETS[name].row, widths=tuple(w // 16 for w in NETS[name].row.widths))
    with torch.inference_mode():
        assert_near(small(images), scores_by_hand(row, large.state_dict(), images))


def test_a_size_with_fewer_positions_than_bins_is_refused() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="size is 96, but the smallest that works is 111"):
        SPPNet(replace(NETS["spp-zf-5"].row, size=96))
    assert make_narrow("spp-zf-5", 111)(torch.zeros(1, 3, 111, 111)).shape == (1, 5)


def test_the_released_names_are_those_of_caffe() -> None:
    caffe = NETS["spp-zf-5"].foreign["caffe"]
    layers = [f"conv{n}" for n in range(1, 6)] + [f"fc{n}" for n in (6, 7, 8)]
    names = [caffe.rename(n) for n, _ in outline(NETS["spp-zf-5"]).named_parameters()]
    assert names == [f"{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")]


def test_biases_begin_at_one_as_in_the_released_definition() -> None:
    found = create(Model("spp-zf-5", {"widths": (4,) * 5, "hidden": (4, 4)}), ["a", "b"]).network.state_dict()
    ones = {name.split(".")[1] for name, value in found.items() if name.endswith("bias") and (value == 1).all()}
    assert ones == {"conv2", "conv4", "conv5", "fc6", "fc7"}
