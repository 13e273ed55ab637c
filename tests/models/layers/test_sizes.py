"""Sides of maps match a forward pass, the smallest size is found, and layers are not changed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from imclass.core.config import Model
from imclass.models.classifier import sketch
from imclass.models.layers.sizes import BatchNormBypass, empty_batch_outputs, map_side, side_or_none, smallest_size


def features() -> nn.Sequential:
    """Return 7x7/2 without padding, BN, ReLU, 3x3/2 max pooling, 3x3."""
    return nn.Sequential(nn.Conv2d(3, 4, 7, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 2, 3))


@pytest.mark.parametrize("size", [19, 20, 23, 31, 64])
def test_the_side_is_that_of_a_forward_pass(size: int) -> None:
    assert map_side(features(), size, 3) == features()(torch.zeros(2, 3, size, size)).shape[-1]


@pytest.mark.parametrize("side", [1, 2, 5])
def test_the_smallest_size_is_the_first_that_works(side: int) -> None:
    sizes = [size for size in range(1, 60) if (side_or_none(features(), size, 3) or 0) >= side]
    assert smallest_size(features(), 8, 3, side) == smallest_size(features(), 500, 3, side) == sizes[0]


def test_a_size_that_is_too_small_is_refused_with_the_smallest() -> None:
    with pytest.raises(RuntimeError):  # PyTorch's error without the check
        features()(torch.zeros(2, 3, 18, 18))
    assert side_or_none(features(), 18, 3) is None
    with pytest.raises(ValueError, match=r"size is 18, but the smallest that works is 19$"):
        map_side(features(), 18, 3)


def test_layers_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="no size works"):
        smallest_size(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)), 8, 3)


def test_a_batch_norm_for_another_number_of_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch norm for 5 maps receives 4"):
        map_side(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(5)), 8, 3)


@pytest.mark.parametrize("training", [True, False])
def test_the_layers_are_not_changed(training: bool) -> None:
    layers = features().train(training)
    before = {name: tensor.clone() for name, tensor in layers.state_dict().items()}
    map_side(layers, 40, 3)
    assert layers.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in layers.state_dict().items())
    assert all(not p.is_meta for p in layers.parameters())


def test_batch_norms_are_skipped_only_inside_the_bypass() -> None:
    layers, maps = nn.BatchNorm2d(2).eval(), torch.full((1, 2, 2, 2), 3.0)
    layers.running_mean = torch.ones(2)
    with BatchNormBypass():
        assert torch.equal(layers(maps), maps)
    assert not torch.equal(layers(maps), maps)


class OneImage(nn.Module):
    """A layer that fails for a batch without images."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.reshape(len(maps), -1).view(maps.shape)


def test_a_batch_without_images_finds_shapes_without_the_meta_device() -> None:
    outputs = empty_batch_outputs(features(), (3, 40, 40))
    assert outputs.shape[1:] == features()(torch.zeros(2, 3, 40, 40)).shape[1:] and not outputs.is_meta
    with torch.device("meta"):
        assert not empty_batch_outputs(features(), (3, 40, 40)).is_meta


@pytest.mark.parametrize("name", ["lenet-5", "googlenet", "resnet-18", "vgg-a-lrn", "densenet-121"])
def test_networks_accept_a_batch_without_images(name: str) -> None:
    network = sketch(Model(name), ("a", "b")).network.eval()
    assert empty_batch_outputs(network, (network.w_in, network.size, network.size)).shape == (0, 2)


def test_layers_that_need_an_image_are_measured_on_the_meta_device() -> None:
    layers = nn.Sequential(*features(), OneImage())
    assert empty_batch_outputs(layers, (3, 40, 40)) is None
    assert map_side(layers, 40, 3) == map_side(features(), 40, 3)


PROGRAM = """
import sys
from imclass.core.config import Model
from imclass.models.classifier import create, load_network_classifier
from pathlib import Path
create("googlenet", ("a", "b")).save(Path(sys.argv[1]))
load_network_classifier(sys.argv[1])
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
def test_loading_a_model_does_not_import_the_compiler(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "m.safetensors")], capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr
