"""Outputs of any named layer for image files equal those that a forward hook records."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imclass.core.errors import UserError
from imclass.data.images.decode import decode
from imclass.models.classifier import NetworkClassifier, load_network_classifier
from imclass.models.views.embedding import Embedding
from imclass.serving.features import LayerOutputs, RowExtractor, check_maps_shape, choose_extractor, extract_rows
from imclass.serving.inputs import Files, decode_images, gather_files
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


def layer_outputs(
    classifier: NetworkClassifier, files: Files, layer: str | None = None, batch: int = 32, workers: int = 0
) -> LayerOutputs:
    extractor = replace(choose_extractor(classifier, layer), batch=batch)
    return extract_rows(decode_images(files, workers), extractor)


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
        assert found.layer == name and found.names == files.paths and found.refused == ()
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
        assert other.names == one.names


def test_bad_files_are_named_and_left_out(classifier: NetworkClassifier, files: Files, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    mixed = Files((files.paths[0], str(tmp_path / "bad.png"), files.paths[1]))
    found = layer_outputs(classifier, mixed, "features.0", batch=2)
    assert found.names == (files.paths[0], files.paths[1])
    assert [(r.path, r.code) for r in found.refused] == [(str(tmp_path / "bad.png"), "empty")]
    expected = layer_outputs(classifier, Files(found.names), "features.0")
    assert_near(found.outputs, expected.outputs)
    with pytest.raises(UserError, match=r"could not use any file \(1 refused\)"):
        layer_outputs(classifier, Files((str(tmp_path / "bad.png"),)))


def test_the_penultimate_layer_is_the_input_of_the_last_one(classifier: NetworkClassifier, files: Files) -> None:
    seen: list[Tensor] = []
    handle = classifier.network.head[-1].register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    images = [decode(Path(path)) for path in files.paths]
    classifier.classify(images)
    handle.remove()
    assert_near(layer_outputs(classifier, files, "penultimate").outputs, seen[0].numpy())
    for scales, mirror, normalise in (((32, 40), True, False), ((), False, True)):
        extractor = choose_extractor(classifier, "penultimate", scales, mirror, normalise)
        found = extract_rows(decode_images(files, 0), extractor)
        assert_near(found.outputs, Embedding(classifier, scales, mirror, normalise)(images))


def test_averages_need_the_penultimate_layer(classifier: NetworkClassifier) -> None:
    with pytest.raises(UserError, match=r"^--scales needs --layer penultimate, .* the layer is features\.0"):
        choose_extractor(classifier, "features.0", (32,), normalise=True)
    with pytest.raises(UserError, match=r"^--mirror needs --layer penultimate"):
        choose_extractor(classifier, "features.0", mirror=True)


def test_rows_that_are_not_finite_are_refused_by_name(classifier: NetworkClassifier, files: Files) -> None:
    extractor = choose_extractor(classifier, "penultimate")

    def rows(images: object) -> np.ndarray:
        found = extractor.rows(images)  # type: ignore[arg-type]
        found[1, 3] = np.nan
        return found

    with pytest.raises(UserError, match=f"^the features of {files.paths[1]} are not finite"):
        extract_rows(decode_images(files, 0), replace(extractor, rows=rows))


def test_an_interrupted_extraction_leaves_no_file(classifier: NetworkClassifier, files: Files, tmp_path: Path) -> None:
    def stop(done: int) -> None:
        assert done == 2
        raise KeyboardInterrupt

    extractor = replace(choose_extractor(classifier, "penultimate"), batch=2)
    with pytest.raises(KeyboardInterrupt):
        extract_rows(decode_images(files, 2), extractor, tmp_path, stop)
    assert list(tmp_path.iterdir()) == []


def test_rows_are_kept_in_a_file_and_not_in_memory(classifier: NetworkClassifier, files: Files, tmp_path: Path) -> None:
    found = extract_rows(decode_images(files, 0), choose_extractor(classifier, "penultimate"), tmp_path)
    assert isinstance(found.outputs, np.memmap) and list(tmp_path.iterdir()) == []
    found.outputs[0] = 0  # a caller may change the array


def test_only_maps_can_be_drawn() -> None:
    def extractor_of(*shape: int) -> RowExtractor:
        return RowExtractor("x", shape, lambda images: np.zeros((len(images), *shape), np.float32), 1)

    check_maps_shape(extractor_of(5, 4, 3))
    with pytest.raises(UserError, match="'x' returns 84 numbers per image instead of maps"):
        check_maps_shape(extractor_of(84))
