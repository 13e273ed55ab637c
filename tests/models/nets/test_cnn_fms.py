"""CNN-F, -M and -S: parameters by hand, sides of maps, a second implementation, and the names of Caffe's tensors."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.nets.cnn_fms import CNNFMS, NETS
from tests.support.outline import count, outline, shapes
from tests.support.tolerance import assert_near

# Table 1 with the paddings of the Caffe definitions: filters, kernel, stride, padding, normalised, window and stride.
TABLE_1 = {
    "cnn-f": [(64, 11, 4, 0, True, 3, 2), (256, 5, 1, 2, True, 3, 2), *[(256, 3, 1, 1, False, 0, 0)] * 2,
              (256, 3, 1, 1, False, 3, 2)],
    "cnn-m": [(96, 7, 2, 0, True, 3, 2), (256, 5, 2, 1, True, 3, 2), *[(512, 3, 1, 1, False, 0, 0)] * 2,
              (512, 3, 1, 1, False, 3, 2)],
    "cnn-s": [(96, 7, 2, 0, True, 3, 3), (256, 5, 1, 0, False, 2, 2), *[(512, 3, 1, 1, False, 0, 0)] * 2,
              (512, 3, 1, 1, False, 3, 3)],
}  # fmt: skip
every_network = pytest.mark.parametrize("name", NETS)


def scores_by_hand(name: str, tensors: dict[str, Tensor], images: Tensor) -> Tensor:
    """Return the scores of a network from functions of PyTorch, without dropout. Caffe divides alpha by 5."""
    maps = images
    for n, (_, _, stride, padding, normalised, window, step) in enumerate(TABLE_1[name], 1):
        weight, bias = tensors[f"features.conv{n}.weight"], tensors[f"features.conv{n}.bias"]
        maps = functional.conv2d(maps, weight, bias, stride, padding).clamp_min(0)
        if normalised:
            maps = functional.local_response_norm(maps, 5, alpha=5e-4, beta=0.75, k=2.0)
        if window:
            missing = -(maps.shape[2] - window) % step  # rows that the last window lacks
            maps = functional.max_pool2d(functional.pad(maps, (0, missing, 0, missing), value=-math.inf), window, step)
    vector = maps.flatten(1)
    for n in (6, 7, 8):
        vector = vector @ tensors[f"head.fc{n}.weight"].T + tensors[f"head.fc{n}.bias"]
        vector = vector if n == 8 else vector.clamp_min(0)
    return vector


@every_network
def test_parameters_are_those_of_table_1_by_hand(name: str) -> None:
    total, w_in = 0, 3
    for w_out, kernel, *_ in TABLE_1[name]:
        total += (w_in * kernel**2 + 1) * w_out
        w_in = w_out
    total += (36 * w_in + 1) * 4096 + 4097 * 4096 + 4097 * 1000
    known = {"cnn-f": 60_834_536}.get(name, 102_908_520)
    assert count(outline(NETS[name])) == total == known == NETS[name].parameters


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("cnn-f", (54, 27, 27, 13, 13, 13, 13, 6)),
        ("cnn-m", (109, 54, 26, 13, 13, 13, 13, 6)),
        ("cnn-s", (109, 37, 33, 17, 17, 17, 17, 6)),
    ],
)
def test_the_last_maps_have_6_by_6_pixels(name: str, sides: tuple[int, ...]) -> None:
    found = shapes(outline(NETS[name]))
    names = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
    assert tuple(found[layer][1] for layer in names) == sides


@every_network
def test_scores_match_a_second_implementation(name: str) -> None:
    torch.manual_seed(0)
    narrow = tuple(w // 16 for w in NETS[name].row.widths)
    # At this side, the last window of some pooling is not full in each of the networks.
    network = CNNFMS(replace(NETS[name].row, widths=narrow, hidden=(9, 8), size=119, init_std=0.1), 5).eval()
    images = 50 * torch.randn(2, 3, 119, 119)
    with torch.inference_mode():
        assert_near(network(images), scores_by_hand(name, network.state_dict(), images))


def test_only_the_slow_network_has_one_normalisation() -> None:
    norms = {name: [m for m in outline(NETS[name]).modules() if isinstance(m, LocalResponseNorm)] for name in NETS}
    assert {name: len(found) for name, found in norms.items()} == {"cnn-f": 2, "cnn-m": 2, "cnn-s": 1}
    children = [name for name, _ in outline(NETS["cnn-f"]).features.named_children()]
    assert children[:4] == ["conv1", "relu1", "norm1", "pool1"]


@every_network
def test_caffe_names_tensors_by_layer(name: str) -> None:
    caffe = NETS[name].foreign["caffe"]
    network = outline(NETS[name])
    layers = [f"conv{n}" for n in range(1, 6)] + [f"fc{n}" for n in (6, 7, 8)]
    weighted = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in network.modules())
    assert [caffe.rename(n) for n, _ in network.named_parameters()] == [
        f"{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")
    ]
    assert (weighted, caffe.name) == (8, name.upper().replace("CNN-", "VGG_CNN_"))
