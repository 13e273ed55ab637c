"""Inputs that a library's weights expect, folded into a network's normalisation."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.models.classifier import create, networks
from imclass.models.entry import NetworkEntry
from imclass.models.foreign.convert import ImportOptions, import_weights
from imclass.models.foreign.inputs import INPUTS, default_inputs, inputs_for, inputs_from
from imclass.models.foreign.matching import TensorMatch
from tests.support.foreign_weights import TEN, akamaster_state, lenet
from tests.support.tolerance import assert_near, near


def test_blue_green_red_and_values_to_255_are_folded(tmp_path: Path) -> None:
    """Compare with the network on the values that it was trained on: B, G, R from 0 to 255 minus a mean."""
    torch.save(akamaster_state(), tmp_path / "a.th")
    record = {
        "channels": "bgr",
        "mean": [104.0, 117.0, 123.0],
        "std": [57.0, 58.0, 59.0],
        "unit": 255,
        "resize": "none",
    }
    (tmp_path / "caffe.json").write_text(json.dumps(record))
    plain, _ = import_weights(tmp_path / "a.th", "resnet-cifar-20", ImportOptions(classes=TEN, inputs="plain"))
    folded, _ = import_weights(
        tmp_path / "a.th", "resnet-cifar-20", ImportOptions(classes=TEN, inputs=tmp_path / "caffe.json")
    )
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(record[key]).view(-1, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        trained = plain.network((images.flip(1).float() - mean) / std)
        unfolded = plain.network((images.float() - mean) / std)
    assert_near(folded.scores(images), trained)
    assert not near(unfolded, trained, 1e-2)
    assert folded.preprocess.channels == "rgb"
    assert_near(folded.network.mean.flatten(), torch.tensor([123.0, 117.0, 104.0]) / 255)


def test_released_weights_of_vgg_expect_their_mean_colour() -> None:
    for name in ("vgg-d", "cnn-s"):
        entry: NetworkEntry = networks()[name]
        match = TensorMatch(name, "caffe", entry.row, 1000, 3)
        inputs, note = inputs_for(entry, match, None)
        assert (inputs.mean, inputs.unit, inputs.preprocess.channels) == ((103.939, 116.779, 123.68), 255, "bgr")
        assert (inputs.preprocess.scale, "caffe-vgg" in note) == (256, True)
    assert default_inputs(entry, replace(match, naming="imclass")) == "imagenet"
    assert default_inputs(networks()["googlenet"], replace(match, network="googlenet")) == "caffe"


def test_torchvision_s_transform_input_is_in_the_buffers() -> None:
    """Check that its formula, after ImageNet's normalisation, is (x - 0.5) / 0.5, as in "inception"."""
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    mean, std = (torch.tensor(INPUTS["imagenet"][key], dtype=torch.float64).view(-1, 1, 1) for key in ("mean", "std"))
    transformed = (images - mean) / std * (std / 0.5) + (mean - 0.5) / 0.5
    found = inputs_from(INPUTS["inception"], create("resnet-cifar-20", TEN).preprocess, "a test").buffers()
    torch.testing.assert_close((images - found["mean"]) / found["std"], transformed)


def test_weights_for_cifar_see_all_of_a_large_photo_and_small_images_unchanged(tmp_path: Path) -> None:
    torch.save(akamaster_state(), tmp_path / "a.th")
    found, _ = import_weights(tmp_path / "a.th", "resnet-cifar-20", ImportOptions(classes=TEN))
    photo = np.zeros((320, 480, 3), np.uint8)
    photo[:, :200] = 255  # left of the central 32 pixels
    view = found.preprocess(photo)
    assert view.shape == (32, 32, 3) and (view[:, 0] == 255).all() and (view[:, -1] == 0).all()
    small = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(found.preprocess(small), small)


@pytest.mark.parametrize("name", INPUTS)
def test_every_named_input_can_be_used(name: str) -> None:
    found = inputs_from(INPUTS[name], create("small-resnet", TEN).preprocess, name)
    assert found.buffers()["mean"].shape == (3, 1, 1)
    assert all(-0.01 < value < 1 for value in found.buffers()["mean"].flatten())


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"mean": [104, 117, 123]}, 'mean is .104.0, 117.0, 123.0., for pixel values up to 255. Add "unit": 255'),
        ({"mean": [0.1, 0.2]}, "must have 1 value each, or 3"),
        ({"std": [0.0]}, "std is .0.0,.; all of its values must be positive"),
        ({"mean": [0.4], "std": [58.4, 57.1, 57.4]}, "std is .58.4, 57.1, 57.4., for pixel values up to 255. Add"),
        ({"mean": [float("nan")]}, "mean.0 is nan; it must be a finite number"),
        ({"size": 64}, "size is 64, but the network expects 32"),
        ({"resise": "none"}, "no field 'preprocess.resise'; did you mean 'resize'"),
        ({"unit": 100}, "unit is 100"),
    ],
)
def test_wrong_inputs_are_named(record: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(akamaster_state(), tmp_path / "a.th")
    (tmp_path / "own.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=message):
        import_weights(tmp_path / "a.th", "resnet-cifar-20", ImportOptions(classes=TEN, inputs=tmp_path / "own.json"))
    with pytest.raises(UserError, match="neither a file nor a known name; did you mean 'imagenet'"):
        import_weights(tmp_path / "a.th", "resnet-cifar-20", ImportOptions(classes=TEN, inputs="imagenett"))


def test_mean_and_std_in_a_file_are_kept(tmp_path: Path) -> None:
    original = lenet()
    original.network.normalise((0.25,), (0.5,))
    torch.save(original.network.state_dict(), tmp_path / "a.pth")
    found, match = import_weights(tmp_path / "a.pth", "lenet-5", ImportOptions(classes=TEN))
    assert tensors_digest(found.network.state_dict()) == tensors_digest(original.network.state_dict())
    assert match.notes == ("mean and std come from the file",)
