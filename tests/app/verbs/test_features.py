"""`features`: the outputs of any named layer, as numbers and as a picture."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from imclass.app.cli.main import main
from imclass.app.draw.grid import grid
from imclass.core.errors import UserError
from imclass.data.images.decode import decode
from imclass.models.analysis.activations import find_layer, output_of
from imclass.models.classifier import NetworkClassifier, load
from imclass.serving.features import Features, features, maps
from imclass.serving.inputs import Files, gather
from tests.support.small import tree, untrained
from tests.support.tolerance import assert_near


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = tmp_path_factory.mktemp("world")
    tree(world / "pets", per_class=3)
    untrained(world / "model.safetensors")
    return world


@pytest.fixture(scope="module")
def classifier(world: Path) -> NetworkClassifier:
    return load(world / "model.safetensors")


@pytest.fixture(scope="module")
def files(world: Path) -> Files:
    return gather([str(world / "pets")])


def by_hand(classifier: NetworkClassifier, files: Files, name: str) -> np.ndarray:
    """What a hook of one's own sees, an image at a time."""
    seen: list[Tensor] = []
    handle = classifier.network.get_submodule(name).register_forward_hook(lambda *a: seen.append(a[2].clone()))
    for path in files.paths:
        view = classifier.preprocess(decode(Path(path)))
        with torch.inference_mode():
            classifier.network(torch.from_numpy(view.transpose(2, 0, 1)[None].copy()))
    handle.remove()
    return torch.cat(seen).numpy()


def test_every_layer_gives_what_a_hook_sees(classifier: NetworkClassifier, files: Files) -> None:
    names = [name for name, _ in classifier.network.named_modules() if name and name != "sides"]  # those only train
    assert {"features", "features.0", "head"} <= set(names)
    for name in names:
        found = features(classifier, files, name, batch=4)
        assert found.layer == name and found.paths == files.paths and found.refused == ()
        expected = by_hand(classifier, files, name)
        assert found.outputs.dtype == np.float32 and found.outputs.shape == expected.shape
        assert_near(found.outputs, expected)


def test_the_first_convolution_is_taken_unless_named(classifier: NetworkClassifier, files: Files) -> None:
    found = features(classifier, files)
    assert isinstance(classifier.network.get_submodule(found.layer), nn.Conv2d)
    np.testing.assert_array_equal(found.outputs, features(classifier, files, found.layer).outputs)


def test_batches_and_threads_do_not_matter(classifier: NetworkClassifier, files: Files) -> None:
    one = features(classifier, files, "features.0", batch=1)
    for batch, workers in ((4, 0), (32, 2)):
        other = features(classifier, files, "features.0", batch=batch, workers=workers)
        assert_near(other.outputs, one.outputs)
        assert other.paths == one.paths


class Rectified:
    """A classifier whose second layer overwrites what its first gave out, and whose third takes no part."""

    def __init__(self) -> None:
        self.network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
        self.network.add_module("idle", nn.Identity())

    def scores(self, views: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.network[1](self.network[0](views))


def test_a_later_layer_does_not_alter_what_was_seen() -> None:
    tiny: Any = Rectified()
    views = torch.linspace(-1, 1, 12).reshape(4, 3)
    with torch.no_grad():
        expected = views @ tiny.network[0].weight.T + tiny.network[0].bias
    assert (expected < 0).any()
    unhooked = output_of.__wrapped__ if hasattr(output_of, "__wrapped__") else output_of
    assert_near(unhooked(tiny, tiny.network[0], views), expected)
    seen: list[Tensor] = []  # the twin: without a copy it is altered
    tiny.network[0].register_forward_hook(lambda *a: seen.append(a[2].detach()))
    tiny.scores(views)
    assert (seen[0] >= 0).all()


def test_a_layer_that_takes_no_part_is_a_user_error() -> None:
    tiny: Any = Rectified()
    unhooked = output_of.__wrapped__ if hasattr(output_of, "__wrapped__") else output_of
    with pytest.raises(UserError, match="takes no part"):
        unhooked(tiny, tiny.network.idle, torch.zeros(1, 3))
    assert len(tiny.network.idle._forward_hooks) == 0


def test_layers_are_found_by_name(classifier: NetworkClassifier) -> None:
    network = classifier.network
    assert find_layer(network, "head") == ("head", network.get_submodule("head"))
    with pytest.raises(UserError, match=r"no layer 'featuers'; did you mean 'features'"):
        find_layer(network, "featuers")
    with pytest.raises(UserError, match=r"no convolution; name a layer with --layer: 0, 1"):
        find_layer(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), None)


def test_bad_files_are_named_and_left_out(classifier: NetworkClassifier, files: Files, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    mixed = Files((files.paths[0], str(tmp_path / "bad.png"), files.paths[1]))
    found = features(classifier, mixed, "features.0", batch=2)
    assert found.paths == (files.paths[0], files.paths[1])
    assert [(r.path, r.code) for r in found.refused] == [(str(tmp_path / "bad.png"), "empty")]
    expected = features(classifier, Files(found.paths), "features.0")
    assert_near(found.outputs, expected.outputs)
    with pytest.raises(UserError, match="none of the 1 files could be used"):
        features(classifier, Files((str(tmp_path / "bad.png"),)))


def test_only_maps_can_be_drawn() -> None:
    def found(*shape: int) -> Features:
        return Features("x", np.zeros(shape, np.float32), ("a",), ())

    assert maps(found(2, 5, 4, 3)).shape == (5, 4, 3)
    with pytest.raises(UserError, match="'x' gives 84 numbers an image and no maps"):
        maps(found(2, 84))


def test_numbers_and_picture_are_written(
    world: Path, classifier: NetworkClassifier, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "maps.npy", tmp_path / "maps.png"
    words = ["features", str(world / "model.safetensors"), str(world / "pets"), "--layer", "features.0"]
    assert main([*words, "--out", str(out), "--grid", str(picture), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    found = features(classifier, files, "features.0")
    numbers = np.load(out, allow_pickle=False)
    assert_near(numbers, found.outputs)  # the verb evaluates in another memory order
    expected = grid(maps(replace(found, outputs=numbers)))
    with Image.open(picture) as drawn:
        times = drawn.width // expected.shape[1]  # each value is a square of so many pixels
        np.testing.assert_array_equal(np.asarray(drawn), expected.repeat(times, axis=0).repeat(times, axis=1))
    assert record == {
        "layer": "features.0", "shape": list(numbers.shape), "grid": list(expected.shape),
        "paths": list(files.paths), "refused": [],
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps.npy", "maps.png"]
    assert main([*words, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"features.0: {' x '.join(map(str, numbers.shape))}\n{out}\n"


def test_files_are_replaced_only_if_they_were_written_here(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["features", str(world / "model.safetensors"), str(world / "pets")]
    for option, name in (("--out", "maps.npy"), ("--grid", "maps.png")):
        file = tmp_path / name
        assert main([*words, option, str(file)]) == main([*words, option, str(file)]) == 0
        file.write_text("something of the user's")
        assert main([*words, option, str(file)]) == 2
        assert f"{option} {file} is there already" in capsys.readouterr().err
        assert file.read_text() == "something of the user's"


def test_the_command_names_bad_files(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.png").write_bytes(b"GIF89a")
    words = ["features", str(world / "model.safetensors"), str(world / "pets"), str(tmp_path / "bad.png")]
    assert main([*words, "--out", str(tmp_path / "maps.npy"), "--json"]) == 1
    shown = capsys.readouterr()
    assert f"refused: {tmp_path / 'bad.png'}" in shown.err
    record = json.loads(shown.out)
    assert [r["path"] for r in record["refused"]] == [str(tmp_path / "bad.png")]
    assert record["grid"] is None and record["shape"][0] == len(record["paths"]) == 6
