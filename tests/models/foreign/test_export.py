"""Exports to other libraries: every network in every format is the same after importing it again."""

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
MEAN, STD = (0.41, 0.32, 0.17), (0.21, 0.22, 0.25)  # not those of any published weights


def cases() -> Iterator[Any]:
    """Yield pairs of network and library. Large ones, and those that repeat a class and library, are marked slow."""
    seen = set()
    for name, library in FORMATS:
        kind = (ENTRIES[name].build, library)
        yield pytest.param(name, library, marks=[pytest.mark.slow] if kind in seen or name in LARGE else [])
        seen.add(kind)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, NetworkEntry]:
    """Replace the table of networks by narrow copies, which are quick."""
    rows = {n: row_of(e, {**narrow(e), **without_sides(e)}, n) for n, e in ENTRIES.items()}
    copies = {name: replace(entry, row=rows[name]) for name, entry in ENTRIES.items()}
    for module in (convert, export):
        monkeypatch.setattr(module, "networks", lambda context=None: copies)
    return copies


def without_sides(entry: NetworkEntry) -> dict[str, Any]:
    """Return the row field that turns auxiliary heads off, since they do not fit the smallest images."""
    return {"aux": False} if hasattr(entry.row, "aux") else {}


def make_classifier(name: str, entry: NetworkEntry, library: str, channels: Any = "rgb") -> NetworkClassifier:
    """Return a trained copy whose preprocess and normalisation are not those of any library."""
    row = {**vars(entry.row), **entry.foreign[library].row}
    size = entry.row.size
    preprocess = Preprocess(size, scale=size + 3, interpolation="bicubic", channels=channels)
    found = create(Model(name, row), CLASSES, preprocess, seed=4)
    imitate_training(found.network).normalise(MEAN, STD)
    return found


def round_trip(found: NetworkClassifier, library: str, suffix: str, folder: Path) -> NetworkClassifier:
    """Export a classifier and import it again without options."""
    path = folder / f"a{suffix}"
    path.write_bytes(export_bytes(export_network(found, library), suffix))
    return import_weights(path, found.name, ImportOptions())[0]


@pytest.mark.parametrize(("name", "library"), list(cases()))
def test_an_imported_export_has_the_same_tensors_and_scores(
    name: str, library: str, small: Mapping[str, NetworkEntry], tmp_path: Path
) -> None:
    found = make_classifier(name, small[name], library)
    images = [torch.randint(0, 256, (h, w, 3), dtype=torch.uint8).numpy() for h, w in ((90, 70), (64, 110))]
    for suffix in (".safetensors", ".pth"):
        again = round_trip(found, library, suffix, tmp_path)
        assert tensors_digest(again.network.state_dict()) == tensors_digest(found.network.state_dict())
        assert (again.classes, again.preprocess, again.row) == (found.classes, found.preprocess, found.row)
    assert torch.equal(again.classify(images), found.classify(images))


@pytest.mark.parametrize(("name", "library"), [("googlenet", "caffe"), ("resnet-18", "torchvision")])
def test_a_network_that_takes_bgr_takes_rgb_afterwards(
    name: str, library: str, small: Mapping[str, NetworkEntry], tmp_path: Path
) -> None:
    found = make_classifier(name, small[name], library, channels="bgr")
    again = round_trip(found, library, ".pth", tmp_path)
    image = torch.randint(0, 256, (90, 70, 3), dtype=torch.uint8).numpy()
    assert again.preprocess.channels == "rgb"
    assert_near(again.classify([image]), found.classify([image]))
    blue_first = replace(again, preprocess=found.preprocess)
    assert not near(blue_first.classify([image]), found.classify([image]), 1e-2)


def test_an_export_for_caffe_takes_bgr_and_values_to_255(small: Mapping[str, NetworkEntry]) -> None:
    found = make_classifier("googlenet", small["googlenet"], "caffe")
    exported = export_network(found, "caffe")
    assert (exported.inputs.unit, exported.inputs.preprocess.channels) == (255, "bgr")
    assert exported.inputs.mean == pytest.approx([255 * m for m in reversed(MEAN)])
    assert exported.inputs.std == pytest.approx([255 * s for s in reversed(STD)])
    ours = found.network.state_dict()["features.conv1.conv.weight"]
    assert torch.equal(exported.tensors["conv1.7x7_s2.weight"], ours.flip(1))


def test_an_export_without_its_record_follows_the_library(small: Mapping[str, NetworkEntry], tmp_path: Path) -> None:
    found = make_classifier("googlenet", small["googlenet"], "caffe")
    found.network.normalise([m / 255 for m in (123, 117, 104)], [1 / 255] * 3)
    torch.save(dict(export_network(found, "caffe").tensors), tmp_path / "a.pth")
    again, _ = import_weights(tmp_path / "a.pth", "googlenet", ImportOptions(classes=CLASSES))
    assert tensors_digest(again.network.state_dict()) == tensors_digest(found.network.state_dict())


def test_hashes_of_training_images_are_left_out() -> None:
    found = create(Model("resnet-cifar-20", {"zeros": "both"}), TEN)
    known = replace(found, trained_on=np.ones(3, np.uint64))
    assert export_network(known, "akamaster").tensors.keys() == export_network(found, "akamaster").tensors.keys()


def test_a_mean_image_and_the_licence_are_kept(tmp_path: Path) -> None:
    row = {"depth": 20, "zeros": "both"}
    found = create(Model("resnet-cifar-20", row), TEN)
    found.network.normalise(torch.rand(3, 32, 32), STD)
    again = round_trip(replace(found, licence="BSD-2-Clause"), "akamaster", ".safetensors", tmp_path)
    assert torch.equal(again.network.mean, found.network.mean)
    assert again.licence == "BSD-2-Clause"


def test_the_normalisation_of_an_image_by_itself_is_kept(tmp_path: Path) -> None:
    found = create(Model("resnet-cifar-20", {"zeros": "both"}, standardise=True), TEN)
    back = round_trip(found, "akamaster", ".safetensors", tmp_path)
    assert back.network.standardise
    assert export_network(found, "akamaster").record.inputs["standardise"] is True


def test_options_override_the_record(tmp_path: Path) -> None:
    found = create(Model("resnet-cifar-20", {"zeros": "both"}), TEN)
    (tmp_path / "a.pth").write_bytes(export_bytes(export_network(found, "akamaster"), ".pth"))
    names = tuple(f"other {k}" for k in range(10))
    again, match = import_weights(tmp_path / "a.pth", "resnet-cifar-20", ImportOptions(classes=names, inputs="plain"))
    assert (again.classes, again.network.std.flatten().tolist()) == (names, [1, 1, 1])
    assert "preprocessing is --preprocess plain" in match.notes


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"network": "lenet-5"}', '{"network": "lenet-5", "row": {"sise": 3}, "classes": ["a", "b"], '
    '"inputs": {}}', '{"network": "lenet-5", "row": {}, "classes": ["a", "a"], "inputs": {}}',
    '{"network": "lenet-5", "row": {"size": -5}, "classes": ["a", "b"], "inputs": {}}'],
)  # fmt: skip
def test_an_invalid_record_is_refused(text: str, tmp_path: Path) -> None:
    state = create("lenet-5", TEN).network.state_dict()
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({name: tensor for name, tensor in state.items()}, path, {EXPORT_KEY: text})
    with pytest.raises(UserError, match=r"a\.safetensors: the export's record of its model cannot be read"):
        import_weights(path, "lenet-5", ImportOptions())


def test_the_record_of_another_network_is_ignored() -> None:
    text = '{"network": "lenet-4", "row": {"sise": 3}, "classes": [], "inputs": {}}'
    assert record_in(text, Path("a.pth"), "lenet-5") is None and record_in("", Path("a.pth"), "lenet-5") is None
    fine = record_in(
        text.replace("lenet-4", "lenet-5").replace('"sise": 3', "").replace("[]", '["a", "b"]'), Path(), "lenet-5"
    )
    assert fine == ExportRecord("lenet-5", {}, ("a", "b"), {})


def test_an_exported_import_has_the_original_tensors(tmp_path: Path) -> None:
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
    with pytest.raises(UserError, match="and this resnet-cifar-20 are different networks: they differ in widths"):
        export_network(other, "akamaster")
    with pytest.raises(UserError, match="they differ in zeros"):
        export_network(create("resnet-cifar-20", TEN), "akamaster")


def test_equal_shapes_do_not_make_it_the_library_s_network() -> None:
    """Change a stride, which has no tensor."""
    with torch.device("meta"):
        other = create(Model("resnet-50-v1.5", {"stride_in": "1x1"}), TEN)
    with pytest.raises(UserError, match=r"and this resnet-50-v1\.5 are different networks: they differ in stride_in"):
        export_network(other, "torchvision")


def test_another_size_with_the_same_tensors_is_exported(tmp_path: Path) -> None:
    found = create(Model("resnet-cifar-20", {"zeros": "both", "size": 40}), TEN, Preprocess(40, resize="squash"))
    assert round_trip(found, "akamaster", ".pth", tmp_path).row["size"] == 40
