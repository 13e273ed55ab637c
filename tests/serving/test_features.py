"""Outputs of any named layer for image files equal those that a forward hook records."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imclass.core.errors import UserError
from imclass.data.images.decode import decode
from imclass.models.classifier import NetworkClassifier, load_network_classifier
from imclass.serving.features import LayerOutputs, first_maps, layer_outputs
from imclass.serving.inputs import Files, gather_files
from tests.support.small import save_untrained, tree
from tests.support.tolerance import assert_near


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = tmp_path_factory.mktemp("world")
    tree(world / "pets", per_class=3)
    save_untrained(world / "model.safetensors")
    return world


@pytest.fixture(scope="module")
def classifier(world: Path) -> NetworkClassifier:
    return load_network_classifier(world / "model.safetensors")


@pytest.fixture(scope="module")
def files(world: Path) -> Files:
    return gather_files([str(world / "pets")])


def by_hand(classifier: NetworkClassifier, files: Files, name: str) -> np.ndarray:
    """Return what a forward hook records, image by image."""
    seen: list[Tensor] = []
    handle = classifier.network.get_submodule(name).register_forward_hook(lambda *a: seen.append(a[2].clone()))
    for path in files.paths:
        view = classifier.preprocess(decode(Path(path)))
        with torch.inference_mode():
            classifier.network(torch.from_numpy(view.transpose(2, 0, 1)[None].copy()))
    handle.remove()
    return torch.cat(seen).numpy()


def test_outputs_of_every_layer_equal_those_of_a_hook(classifier: NetworkClassifier, files: Files) -> None:
    names = [
        name for name, _ in classifier.network.named_modules() if name and name != "sides"
    ]  # auxiliary heads run in training only
    assert {"features", "features.0", "head"} <= set(names)
    for name in names:
        found = layer_outputs(classifier, files, name, batch=4)
        assert found.layer == name and found.paths == files.paths and found.refused == ()
        expected = by_hand(classifier, files, name)
        assert found.outputs.dtype == np.float32 and found.outputs.shape == expected.shape
        assert_near(found.outputs, expected)


def test_the_default_layer_is_the_first_convolution(classifier: NetworkClassifier, files: Files) -> None:
    found = layer_outputs(classifier, files)
    assert isinstance(classifier.network.get_submodule(found.layer), nn.Conv2d)
    np.testing.assert_array_equal(found.outputs, layer_outputs(classifier, files, found.layer).outputs)


def test_batches_and_threads_do_not_change_outputs(classifier: NetworkClassifier, files: Files) -> None:
    one = layer_outputs(classifier, files, "features.0", batch=1)
    for batch, workers in ((4, 0), (32, 2)):
        other = layer_outputs(classifier, files, "features.0", batch=batch, workers=workers)
        assert_near(other.outputs, one.outputs)
        assert other.paths == one.paths


def test_bad_files_are_named_and_left_out(classifier: NetworkClassifier, files: Files, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    mixed = Files((files.paths[0], str(tmp_path / "bad.png"), files.paths[1]))
    found = layer_outputs(classifier, mixed, "features.0", batch=2)
    assert found.paths == (files.paths[0], files.paths[1])
    assert [(r.path, r.code) for r in found.refused] == [(str(tmp_path / "bad.png"), "empty")]
    expected = layer_outputs(classifier, Files(found.paths), "features.0")
    assert_near(found.outputs, expected.outputs)
    with pytest.raises(UserError, match=r"could not use any file \(1 refused\)"):
        layer_outputs(classifier, Files((str(tmp_path / "bad.png"),)))


def test_only_maps_can_be_drawn() -> None:
    def outputs_of_shape(*shape: int) -> LayerOutputs:
        return LayerOutputs("x", np.zeros(shape, np.float32), ("a",), ())

    assert first_maps(outputs_of_shape(2, 5, 4, 3)).shape == (5, 4, 3)
    with pytest.raises(UserError, match="'x' returns 84 numbers per image instead of maps"):
        first_maps(outputs_of_shape(2, 84))
