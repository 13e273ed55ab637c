"""What is exported to another library, in every format and of every network, comes back the same."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.core.preprocess import Preprocess
from imclass.models.classifier import NetworkClassifier, create, networks, row_of
from imclass.models.entry import NetworkEntry
from imclass.models.foreign import convert, export
from imclass.models.foreign.convert import ImportOptions, import_weights
from imclass.models.foreign.export import ExportRecord, export_bytes, export_network, record_in
from imclass.models.foreign.readers import EXPORT_KEY
from tests.support.foreign_weights import TEN, akamaster_state
from tests.support.narrow import imitate_training, narrow
from tests.support.tolerance import assert_near, near

ENTRIES: dict[str, NetworkEntry] = networks().entries
FORMATS = [(name, library) for name, entry in ENTRIES.items() for library in entry.foreign]
CLASSES = ("cat", "dog", "n01440764 tench", "Zürich")
LARGE = ("inception-v3", "inception-v4", "inception-resnet-v2", "googlenet-bn")
MEAN, STD = (0.41, 0.32, 0.17), (0.21, 0.22, 0.25)  # of nobody's weights


def cases() -> Iterator[Any]:
    """Yield a network and a library each; large ones, and those that repeat a class and library, are marked slow."""
    seen = set()
    for name, library in FORMATS:
        kind = (ENTRIES[name].build, library)
        yield pytest.param(name, library, marks=[pytest.mark.slow] if kind in seen or name in LARGE else [])
        seen.add(kind)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, NetworkEntry]:
    """Stand in for the table of networks: a library's network is then the narrow copy of ours, which is quick."""
    rows = {n: row_of(e, {**narrow(e), **without_sides(e)}, n) for n, e in ENTRIES.items()}
    copies = {name: replace(entry, row=rows[name]) for name, entry in ENTRIES.items()}
    for module in (convert, export):
        monkeypatch.setattr(module, "networks", lambda context=None: copies)
    return copies


def without_sides(entry: NetworkEntry) -> dict[str, Any]:
    """Return the row's field of auxiliary heads, which do not fit the smallest images."""
    return {"aux": False} if hasattr(entry.row, "aux") else {}


def made(name: str, entry: NetworkEntry, library: str, channels: Any = "rgb") -> NetworkClassifier:
    """Return a trained copy that takes images as nobody else's does."""
    row = {**vars(entry.row), **entry.foreign[library].row}
    size = entry.row.size
    preprocess = Preprocess(size, scale=size + 3, interpolation="bicubic", channels=channels)
    found = create(Model(name, row), CLASSES, preprocess, seed=4)
    imitate_training(found.network).normalise(MEAN, STD)
    return found


def back(found: NetworkClassifier, library: str, suffix: str, folder: Path) -> NetworkClassifier:
    """Return the classifier that an export gives when it is imported without options."""
    path = folder / f"a{suffix}"
    path.write_bytes(export_bytes(export_network(found, library), suffix))
    return import_weights(path, found.name, ImportOptions())[0]


@pytest.mark.parametrize(("name", "library"), list(cases()))
def test_an_export_comes_back_with_its_tensors_and_scores(
    name: str, library: str, small: Mapping[str, NetworkEntry], tmp_path: Path
) -> None:
    found = made(name, small[name], library)
    images = [torch.randint(0, 256, (h, w, 3), dtype=torch.uint8).numpy() for h, w in ((90, 70), (64, 110))]
    for suffix in (".safetensors", ".pth"):
        again = back(found, library, suffix, tmp_path)
        assert tensors_digest(again.network.state_dict()) == tensors_digest(found.network.state_dict())
        assert (again.classes, again.preprocess, again.row) == (found.classes, found.preprocess, found.row)
    assert torch.equal(again.classify(images), found.classify(images))


@pytest.mark.parametrize(("name", "library"), [("googlenet", "caffe"), ("resnet-18", "torchvision")])
def test_a_network_of_blue_first_comes_back_with_red_first(
    name: str, library: str, small: Mapping[str, NetworkEntry], tmp_path: Path
) -> None:
    found = made(name, small[name], library, channels="bgr")
    again = back(found, library, ".pth", tmp_path)
    image = torch.randint(0, 256, (90, 70, 3), dtype=torch.uint8).numpy()
    assert again.preprocess.channels == "rgb"
    assert_near(again.classify([image]), found.classify([image]))
    blue_first = replace(again, preprocess=found.preprocess)
    assert not near(blue_first.classify([image]), found.classify([image]), 1e-2)


def test_caffe_gets_blue_first_and_values_to_255(small: Mapping[str, NetworkEntry]) -> None:
    """The file is for whoever feeds it as BVLC's is fed, with this mean."""
    found = made("googlenet", small["googlenet"], "caffe")
    given = export_network(found, "caffe")
    assert (given.inputs.unit, given.inputs.preprocess.channels) == (255, "bgr")
    assert given.inputs.mean == pytest.approx([255 * m for m in reversed(MEAN)])
    assert given.inputs.std == pytest.approx([255 * s for s in reversed(STD)])
    ours = found.network.state_dict()["features.conv1.conv.weight"]
    assert torch.equal(given.tensors["conv1.7x7_s2.weight"], ours.flip(1))


def test_what_a_record_does_not_say_is_the_usual(small: Mapping[str, NetworkEntry], tmp_path: Path) -> None:
    """A file that has lost its record keeps the library's convention, so that only mean and std have to be given."""
    found = made("googlenet", small["googlenet"], "caffe")
    found.network.normalise([m / 255 for m in (123, 117, 104)], [1 / 255] * 3)
    torch.save(dict(export_network(found, "caffe").tensors), tmp_path / "a.pth")
    again, _ = import_weights(tmp_path / "a.pth", "googlenet", ImportOptions(classes=CLASSES))
    assert tensors_digest(again.network.state_dict()) == tensors_digest(found.network.state_dict())


def test_the_images_that_it_was_trained_on_are_left_out() -> None:
    found = create(Model("resnet-cifar-20", {"zeros": "both"}), TEN)
    known = replace(found, trained_on=np.ones(3, np.uint64))
    assert export_network(known, "akamaster").tensors.keys() == export_network(found, "akamaster").tensors.keys()


def test_a_mean_image_and_the_licence_come_back(tmp_path: Path) -> None:
    row = {"depth": 20, "zeros": "both"}
    found = create(Model("resnet-cifar-20", row), TEN)
    found.network.normalise(torch.rand(3, 32, 32), STD)
    again = back(replace(found, licence="BSD-2-Clause"), "akamaster", ".safetensors", tmp_path)
    assert torch.equal(again.network.mean, found.network.mean)
    assert again.licence == "BSD-2-Clause"


def test_choices_win_over_the_record(tmp_path: Path) -> None:
    found = create(Model("resnet-cifar-20", {"zeros": "both"}), TEN)
    (tmp_path / "a.pth").write_bytes(export_bytes(export_network(found, "akamaster"), ".pth"))
    names = tuple(f"other {k}" for k in range(10))
    again, fit = import_weights(tmp_path / "a.pth", "resnet-cifar-20", ImportOptions(classes=names, inputs="plain"))
    assert (again.classes, again.network.std.flatten().tolist()) == (names, [1, 1, 1])
    assert "images are shown as by --preprocess plain" in fit.notes


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"network": "lenet-5"}', '{"network": "lenet-5", "row": {"sise": 3}, "classes": ["a", "b"], '
    '"inputs": {}}', '{"network": "lenet-5", "row": {}, "classes": ["a", "a"], "inputs": {}}',
    '{"network": "lenet-5", "row": {"size": -5}, "classes": ["a", "b"], "inputs": {}}'],
)  # fmt: skip
def test_a_record_that_cannot_be_is_refused(text: str, tmp_path: Path) -> None:
    state = create("lenet-5", TEN).network.state_dict()
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({name: tensor for name, tensor in state.items()}, path, {EXPORT_KEY: text})
    with pytest.raises(UserError, match=r"a\.safetensors: what the export says of its model cannot be read"):
        import_weights(path, "lenet-5", ImportOptions())


def test_the_record_of_another_network_says_nothing() -> None:
    text = '{"network": "lenet-4", "row": {"sise": 3}, "classes": [], "inputs": {}}'
    assert record_in(text, Path("a.pth"), "lenet-5") is None and record_in("", Path("a.pth"), "lenet-5") is None
    fine = record_in(
        text.replace("lenet-4", "lenet-5").replace('"sise": 3', "").replace("[]", '["a", "b"]'), Path(), "lenet-5"
    )
    assert fine == ExportRecord("lenet-5", {}, ("a", "b"), {})


def test_what_is_exported_is_what_was_imported(tmp_path: Path) -> None:
    state: Mapping[str, Tensor] = akamaster_state()
    torch.save(state, tmp_path / "a.th")
    found, _ = import_weights(tmp_path / "a.th", "resnet-cifar-20", ImportOptions(classes=TEN))
    out = export_network(found, "akamaster").tensors
    assert {name: tensor for name, tensor in out.items() if "num_batches" not in name}.keys() == state.keys()
    assert all(torch.equal(out[name], tensor) for name, tensor in state.items())
    with pytest.raises(UserError, match="--format timm: that library has no resnet-cifar-20"):
        export_network(found, "timm")


def test_a_network_that_the_library_does_not_have_is_not_exported() -> None:
    other = create(Model("resnet-cifar-20", {"widths": (4, 8, 16)}), TEN)
    with pytest.raises(UserError, match="another network than this resnet-cifar-20: they differ in widths"):
        export_network(other, "akamaster")
    with pytest.raises(UserError, match="they differ in zeros"):
        export_network(create("resnet-cifar-20", TEN), "akamaster")


def test_tensors_of_equal_shapes_do_not_make_it_the_library_s_network() -> None:
    """Strides, paddings and normalisations without weights compute something else, too."""
    with torch.device("meta"):
        other = create(Model("resnet-50-v1.5", {"stride_in": "1x1"}), TEN)
    with pytest.raises(UserError, match=r"another network than this resnet-50-v1\.5: they differ in stride_in"):
        export_network(other, "torchvision")


def test_another_size_is_the_same_network_where_its_tensors_are(tmp_path: Path) -> None:
    found = create(Model("resnet-cifar-20", {"zeros": "both", "size": 40}), TEN, Preprocess(40, resize="squash"))
    assert back(found, "akamaster", ".pth", tmp_path).row["size"] == 40
