"""Weights of other libraries: read without trust, matched by name, cast and folded as they say, given back."""

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.models.classifier import NetworkClassifier, create, load, networks
from imclass.models.entry import NetworkEntry
from imclass.models.foreign.convert import Wanted, exported, fitted, imagenet_classes, imported
from imclass.models.foreign.fit import best_fit, given, outlined, same_form
from imclass.models.foreign.inputs import INPUTS, inputs_from
from imclass.models.foreign.readers import read_tensors
from tests.support import filled
from tests.support.tolerance import assert_near, near

ENTRIES: dict[str, NetworkEntry] = networks().entries
TEN = tuple(f"class {k}" for k in range(10))
Save = Callable[[Mapping[str, Tensor], Path], None]


def lenet(classes: int = 10, seed: int = 3) -> NetworkClassifier:
    return create("lenet-5", [f"class {k}" for k in range(classes)], seed=seed)


def weights_of(found: NetworkClassifier) -> dict[str, Tensor]:
    """The state dict without the normalisation, which no other library has."""
    return {k: v.clone() for k, v in found.network.state_dict().items() if k not in ("mean", "std")}


def as_npz(state: Mapping[str, Tensor], path: Path) -> None:
    np.savez_compressed(path, allow_pickle=False, **{name: tensor.numpy() for name, tensor in state.items()})


def as_old_pickle(state: Mapping[str, Tensor], path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


KINDS: dict[str, Save] = {
    "a.safetensors": lambda state, path: safetensors.torch.save_file(dict(state), path),
    "a.npz": as_npz,
    "a.pth": lambda state, path: torch.save(state, path),
    "a.th": as_old_pickle,
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_file_gives_the_network_back(name: str, tmp_path: Path) -> None:
    original = lenet()
    KINDS[name](weights_of(original), tmp_path / name)
    found, fit = imported(tmp_path / name, "lenet-5", Wanted(classes=TEN))
    assert (fit.naming, len(fit.pairs), fit.loads) == ("imclass", 10, True)
    assert tensors_digest(found.network.state_dict()) == tensors_digest(original.network.state_dict())
    assert found.classes == TEN and found.preprocess.colour == "grey"


def test_what_training_scripts_wrap_around_is_taken_off(tmp_path: Path) -> None:
    original = lenet()
    wrapped = {f"module.{name}": tensor for name, tensor in weights_of(original).items()}
    torch.save({"epoch": 3, "best": torch.tensor(0.5), "state_dict": wrapped}, tmp_path / "a.pth")
    found, fit = imported(tmp_path / "a.pth", "lenet-5", Wanted(classes=TEN))
    assert tensors_digest(found.network.state_dict()) == tensors_digest(original.network.state_dict())
    assert fit.notes[0] == "'state_dict' is taken, 'epoch', 'best' passed over"
    assert fit.notes[1] == "all names begin with 'module.', which is left off"


def test_the_old_names_of_densenet_are_understood(tmp_path: Path) -> None:
    torch.save({"denselayer1.norm.1.weight": torch.ones(1), "classifier.1.weight": torch.ones(1)}, tmp_path / "a.pth")
    assert set(read_tensors(tmp_path / "a.pth").tensors) == {"denselayer1.norm1.weight", "classifier.1.weight"}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_become_float32_and_it_is_said(kind: torch.dtype, tmp_path: Path) -> None:
    state = weights_of(lenet())
    torch.save({name: tensor.to(kind) for name, tensor in state.items()}, tmp_path / "a.pth")
    found, fit = imported(tmp_path / "a.pth", "lenet-5", Wanted(classes=TEN))
    assert fit.notes[0] == f"10 tensors are {str(kind)[6:]} in the file and become float32"
    for name, tensor in weights_of(found).items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, state[name].to(kind).float())


def test_a_fully_connected_layer_may_be_a_convolution_in_the_file(tmp_path: Path) -> None:
    original, state = lenet(), weights_of(lenet())
    state["head.1.weight"] = state["head.1.weight"].view(120, 16, 4, 4)
    state["head.4.weight"] = state["head.4.weight"].view(84, 120, 1, 1)
    torch.save(state, tmp_path / "a.pth")
    found, _ = imported(tmp_path / "a.pth", "lenet-5", Wanted(classes=TEN))
    images = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    assert torch.equal(found.scores(images), original.scores(images))


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ((6, 20), (6, 5, 2, 2), True),
        ((6, 5, 1, 1), (6, 5), True),
        ((6, 5, 1, 7), (6, 5, 7, 1), False),  # as many values, and another kernel
        ((20, 6), (6, 5, 2, 2), False),
        ((6,), (6, 1), False),
    ],
)
def test_only_forms_that_compute_the_same_are_taken(ours: tuple[int], theirs: tuple[int], same: bool) -> None:
    assert same_form(torch.zeros(ours), torch.zeros(theirs)) is same


def test_missing_extra_and_wrong_tensors_are_told_and_nothing_is_loaded(tmp_path: Path) -> None:
    state = weights_of(lenet())
    state["head.9.weight"] = state.pop("head.7.bias")
    state["features.0.weight"] = torch.zeros(6, 1, 3, 3)
    state["head.4.bias"] = torch.zeros(84, dtype=torch.int64)
    state["features.3.bias"] = torch.full((16,), float("nan"))
    torch.save(state, tmp_path / "a.pth")
    fit, _ = fitted(tmp_path / "a.pth", "lenet-5")
    assert (fit.missing, fit.extra, fit.loads, len(fit.pairs)) == (("head.7.bias",), ("head.9.weight",), False, 6)
    assert fit.wrong == (
        "features.0.weight: 6 x 1 x 3 x 3 in the file, 6 x 1 x 5 x 5 in the network",
        "features.3.bias: some of its values are not finite",
        "head.4.bias: of type torch.int64 in the file, torch.float32 in the network",
    )
    with pytest.raises(UserError, match=r"was not loaded. lenet-5 under imclass's names: 6 of 10 tensors fit"):
        imported(tmp_path / "a.pth", "lenet-5", Wanted(classes=TEN))


def test_the_file_says_how_many_classes_and_channels_there_are(tmp_path: Path) -> None:
    original = create("resnet-cifar-20", ["a", "b", "c"], seed=1)
    torch.save(weights_of(original), tmp_path / "a.pth")
    for given_names in (None, ("a", "b")):
        with pytest.raises(UserError, match="the file has 3 classes, and"):
            imported(tmp_path / "a.pth", "resnet-cifar-20", Wanted(classes=given_names))
    found, fit = imported(tmp_path / "a.pth", "resnet-cifar-20", Wanted(classes=("x", "y", "z")))
    assert (fit.classes, fit.w_in, found.classes) == (3, 3, ("x", "y", "z"))
    usual, _ = imported(tmp_path / "a.pth", "resnet-cifar-20", Wanted(usual={3: ("k", "l", "m")}))
    assert usual.classes == ("k", "l", "m")
    grey = outlined(ENTRIES["resnet-cifar-20"], ENTRIES["resnet-cifar-20"].row, 4, 1)
    torch.save({name: torch.zeros_like(t, device="cpu") for name, t in grey.items()}, tmp_path / "grey.pth")
    found, fit = imported(tmp_path / "grey.pth", "resnet-cifar-20", Wanted(classes=("a", "b", "c", "d")))
    assert (fit.w_in, found.preprocess.colour, found.network.mean.shape) == (1, "grey", (1, 1, 1))


def test_imagenet_s_classes_are_a_thousand_ids_with_a_word_each() -> None:
    classes = imagenet_classes()
    assert len({name.split(" ")[0] for name in classes}) == 1000 == len(classes)
    assert [classes[k] for k in (0, 285, 999)] == [
        "n01440764 tench",
        "n02124075 Egyptian cat",
        "n15075141 toilet tissue",
    ]
    assert list(classes) == sorted(classes)


def akamaster_state(name: str = "resnet-cifar-20") -> dict[str, Tensor]:
    """Reproducible values under akamaster's names, without counters, as its files are."""
    entry = ENTRIES[name]
    names = outlined(entry, entry.row, 10, 3)
    state = {entry.foreign["akamaster"].rename(n): tuple(t.shape) for n, t in names.items() if "num_batches" not in n}
    return {n: torch.from_numpy(v) for n, v in filled.filled(state).items()}


def test_the_library_is_the_one_whose_names_fit_unless_it_is_given(tmp_path: Path) -> None:
    torch.save(akamaster_state(), tmp_path / "a.th")
    fit, tensors = fitted(tmp_path / "a.th", "resnet-cifar-20")
    assert (fit.naming, fit.loads) == ("akamaster", True)
    assert "19 counters of batches are not in the file and begin at 0" in fit.notes
    assert not best_fit("resnet-cifar-20", ENTRIES["resnet-cifar-20"], tensors, "imclass").loads
    with pytest.raises(UserError, match=r"--from akamastre: .* did you mean 'akamaster'"):
        best_fit("resnet-cifar-20", ENTRIES["resnet-cifar-20"], tensors, "akamastre")


def test_the_row_that_a_library_s_weights_want_is_taken(tmp_path: Path) -> None:
    entry = ENTRIES["googlenet"]
    outline = outlined(entry, type(entry.row)(aux=False), 3, 3)
    names = {entry.foreign["caffe"].rename(n): t.shape for n, t in outline.items()}
    np.savez(tmp_path / "a.npz", allow_pickle=False, **{n: np.zeros(s, np.float16) for n, s in names.items()})
    found, fit = imported(tmp_path / "a.npz", "googlenet", Wanted(classes=("a", "b", "c")))
    assert (fit.naming, found.row["k"], found.row["aux"], entry.row.k) == ("caffe", 1.0, False, 2.0)


def test_auxiliary_heads_that_a_file_lacks_are_left_out_and_it_is_said(tmp_path: Path) -> None:
    entry = ENTRIES["googlenet-bn"]
    state = filled.recorded()["torchvision.googlenet"]["state"]
    bare = {n: torch.zeros(s) if s else torch.tensor(0) for n, s in state.items() if not n.startswith("aux")}
    fit = best_fit("googlenet-bn", entry, bare)
    assert fit.loads and fit.row.aux is False and entry.row.aux is True
    assert "no auxiliary heads are in the file: aux = false" in fit.notes
    half = bare | {"aux1.fc2.bias": torch.zeros(1000)}
    assert not best_fit("googlenet-bn", entry, half).loads


def test_another_variant_is_named_where_the_network_has_no_foreign_names(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"resnet-50 has no other library's names; try --as resnet-50-v1.5"):
        imported(tmp_path / "a.pth", "resnet-50", Wanted())


def test_blue_green_red_and_values_to_255_are_folded(tmp_path: Path) -> None:
    """Against the network as it was trained: on B, G, R values from 0 to 255 minus a mean."""
    torch.save(akamaster_state(), tmp_path / "a.th")
    record = {
        "channels": "bgr",
        "mean": [104.0, 117.0, 123.0],
        "std": [57.0, 58.0, 59.0],
        "unit": 255,
        "resize": "none",
    }
    (tmp_path / "caffe.json").write_text(json.dumps(record))
    plain, _ = imported(tmp_path / "a.th", "resnet-cifar-20", Wanted(classes=TEN, inputs="plain"))
    folded, _ = imported(tmp_path / "a.th", "resnet-cifar-20", Wanted(classes=TEN, inputs=tmp_path / "caffe.json"))
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(record[key]).view(-1, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        trained = plain.network((images.flip(1).float() - mean) / std)
        unfolded = plain.network((images.float() - mean) / std)
    assert_near(folded.scores(images), trained)
    assert not near(unfolded, trained, 1e-2)
    assert folded.preprocess.channels == "rgb"
    assert_near(folded.network.mean.flatten(), torch.tensor([123.0, 117.0, 104.0]) / 255)


def test_torchvision_s_transform_input_is_in_the_buffers() -> None:
    """Its formula, after ImageNet's normalisation, is (x - 0.5) / 0.5: what "inception" says."""
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    mean, std = (torch.tensor(INPUTS["imagenet"][key], dtype=torch.float64).view(-1, 1, 1) for key in ("mean", "std"))
    transformed = (images - mean) / std * (std / 0.5) + (mean - 0.5) / 0.5
    found = inputs_from(INPUTS["inception"], create("resnet-cifar-20", TEN).preprocess, "a test").buffers()
    torch.testing.assert_close((images - found["mean"]) / found["std"], transformed)


@pytest.mark.parametrize("name", INPUTS)
def test_every_named_input_can_be_used(name: str) -> None:
    found = inputs_from(INPUTS[name], create("small-resnet", TEN).preprocess, name)
    assert found.buffers()["mean"].shape == (3, 1, 1)
    assert all(-0.01 < value < 1 for value in found.buffers()["mean"].flatten())


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"mean": [104, 117, 123]}, "mean is .104.0, 117.0, 123.0., of pixel values up to 255; say so with"),
        ({"mean": [0.1, 0.2]}, "must have 1 value, or 3"),
        ({"std": [0.0]}, "std is .0.0,.; it must be positive"),
        ({"size": 64}, "size is 64, and the network takes 32"),
        ({"resise": "none"}, "no field 'preprocess.resise'; did you mean 'resize'"),
        ({"unit": 100}, "unit is 100"),
    ],
)
def test_wrong_inputs_are_named(record: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(akamaster_state(), tmp_path / "a.th")
    (tmp_path / "own.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=message):
        imported(tmp_path / "a.th", "resnet-cifar-20", Wanted(classes=TEN, inputs=tmp_path / "own.json"))
    with pytest.raises(UserError, match="no file and no known name; did you mean 'imagenet'"):
        imported(tmp_path / "a.th", "resnet-cifar-20", Wanted(classes=TEN, inputs="imagenett"))


def test_own_means_in_a_file_are_kept(tmp_path: Path) -> None:
    original = lenet()
    original.network.normalise((0.25,), (0.5,))
    torch.save(original.network.state_dict(), tmp_path / "a.pth")
    found, fit = imported(tmp_path / "a.pth", "lenet-5", Wanted(classes=TEN))
    assert tensors_digest(found.network.state_dict()) == tensors_digest(original.network.state_dict())
    assert fit.notes == ("mean and std are the file's own",)


def test_a_model_file_keeps_what_was_imported(tmp_path: Path) -> None:
    torch.save(akamaster_state(), tmp_path / "a.th")
    found, _ = imported(tmp_path / "a.th", "resnet-cifar-20", Wanted(classes=TEN, licence="BSD-2-Clause"))
    assert found.header is not None
    found.save(tmp_path / "model.safetensors", chosen=found.header.chosen, licence=found.header.licence)
    again = load(tmp_path / "model.safetensors")
    assert tensors_digest(again.network.state_dict()) == tensors_digest(found.network.state_dict())
    assert again.header is not None and again.header.licence == "BSD-2-Clause"
    assert again.header.chosen.startswith("imported from a.th (akamaster's names), SHA-256 ")


def test_what_is_exported_comes_back(tmp_path: Path) -> None:
    state = akamaster_state()
    torch.save(state, tmp_path / "a.th")
    found, _ = imported(tmp_path / "a.th", "resnet-cifar-20", Wanted(classes=TEN))
    out = exported(found, "akamaster")
    assert {name: tensor for name, tensor in out.items() if "num_batches" not in name}.keys() == state.keys()
    assert all(torch.equal(out[name], tensor) for name, tensor in state.items())
    with pytest.raises(UserError, match="--format timm: that library has no resnet-cifar-20"):
        exported(found, "timm")


def test_a_network_that_the_library_does_not_have_is_not_exported() -> None:
    other = create(Model("resnet-cifar-20", {"widths": (4, 8, 16)}), TEN)
    with pytest.raises(UserError, match="another network than this resnet-cifar-20: they differ in widths"):
        exported(other, "akamaster")
    with pytest.raises(UserError, match="they differ in zeros"):
        exported(create("resnet-cifar-20", TEN), "akamaster")


def test_timm_s_vgg_gets_its_hidden_layers_as_convolutions() -> None:
    row = {"widths": (4, 4, 4, 4, 8), "hidden": (6, 5)}
    network = create(Model("vgg-a", row), TEN).network
    found = given(network, "timm", ENTRIES["vgg-a"].foreign["timm"])
    shapes = {
        name: tuple(tensor.shape) for name, tensor in found.items() if tensor.dim() > 1 and "features" not in name
    }
    expected = {"pre_logits.fc1.weight": (6, 8, 7, 7), "pre_logits.fc2.weight": (5, 6, 1, 1), "head.fc.weight": (10, 5)}
    assert shapes == expected
    plain = given(network, "torchvision", ENTRIES["vgg-a"].foreign["torchvision"])
    assert plain["classifier.0.weight"].shape == (6, 8 * 49)


class Command:
    """Runs a command when it is unpickled without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused(zipped: bool, tmp_path: Path) -> None:
    path, marker = tmp_path / "a.pth", tmp_path / "ran"
    torch.save({"w": Command(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"refused and nothing in it was run: it asks for \w+.system"):
        read_tensors(path)
    assert not marker.exists()
    content = pickle.dumps(Command(marker))
    type("Careless", (pickle.Unpickler,), {})(io.BytesIO(content)).load()
    assert marker.exists()  # the file was a real danger


class Storage:
    """What a pickle calls a storage by: nothing but the words of its persistent id."""

    def __init__(self, *words: Any) -> None:
        self.words = words


class Rebuilt:
    """A tensor as PyTorch pickles it, of any claimed shape."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, held: Any) -> Any:
        return held.words if isinstance(held, Storage) else None


def claimed(values: int, shape: tuple[int, ...], old: bool) -> bytes:
    """A pickle of one tensor "w" that claims a storage of so many values, and a shape."""
    storage = Storage("storage", torch.FloatStorage, "0", "cpu", values, *[None] * old)
    file = io.BytesIO()
    Pickler(file, 2).dump(OrderedDict(w=Rebuilt(storage, 0, shape, (1,), False, OrderedDict())))
    return file.getvalue()


def old_file(path: Path, values: int, shape: tuple[int, ...]) -> None:
    """The format before PyTorch 1.6, with four values."""
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, info))
    path.write_bytes(head + claimed(values, shape, True) + pickle.dumps(["0"], 2) + struct.pack("<q", 4) + bytes(16))


def new_file(path: Path, values: int, shape: tuple[int, ...]) -> None:
    """The zip format, with four values."""
    with zipfile.ZipFile(path, "w") as archive:
        parts = {
            "data.pkl": claimed(values, shape, False),
            "byteorder": b"little",
            "version": b"3\n",
            "data/0": bytes(16),
        }
        for name, content in parts.items():
            archive.writestr(f"a/{name}", content)


@pytest.mark.parametrize("write", [old_file, new_file])
def test_tensors_larger_than_the_file_are_refused(write: Callable[..., None], tmp_path: Path) -> None:
    write(tmp_path / "good.pth", 4, (4,))
    assert read_tensors(tmp_path / "good.pth").tensors["w"].tolist() == [0, 0, 0, 0]
    huge = 1 << 40  # values: 4 TiB, which no allocation here survives
    for name, values, shape in (("both", huge, (huge,)), ("shape", 4, (huge,)), ("storage", huge, (4,))):
        write(tmp_path / f"{name}.pth", values, shape)
        if name == "storage" and write is new_file:  # a view of what is there
            continue
        with pytest.raises(UserError, match=r"refused|cannot be read"):
            read_tensors(tmp_path / f"{name}.pth")


def npy(shape: str, content: bytes, kind: str = "'<f4'") -> bytes:
    """An array's file with this header."""
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


def npz(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_archives_that_declare_too_much_are_refused(tmp_path: Path) -> None:
    good = npz(tmp_path / "good.npz", ("w.npy", npy("(2, 2)", bytes(16))))
    assert read_tensors(good).tensors["w"].shape == (2, 2)
    bomb = npz(tmp_path / "bomb.npz", ("w.npy", npy("(10000000,)", bytes(40_000_000))))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(UserError, match="refused, and nothing of it was unpacked: it declares 1 arrays of 40,000,"):
        read_tensors(bomb)
    for shape in ("(1000000000000,)", "(1000000, 1000000, 1000000)", "(-4,)"):
        with pytest.raises(UserError, match="cannot be read as a NumPy archive of arrays"):
            read_tensors(npz(tmp_path / "a.npz", ("w.npy", npy(shape, bytes(16)))))


@pytest.mark.parametrize(
    "member",
    [
        ("w.npy", npy("(4,)", bytes(16), "'|O'")),
        ("w.npy", npy("(4,)", bytes(32), "[('a', '<f4'), ('b', '<f4')]")),
        ("w.npy", npy("(4,)", bytes(15))),
        ("w.npy", b"no array"),
        ("w.txt", npy("(4,)", bytes(16))),
    ],
)
def test_archives_of_other_things_are_refused(member: tuple[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.npz"):
        read_tensors(npz(tmp_path / "a.npz", member))


def test_columns_first_and_big_ends_first_are_read_right(tmp_path: Path) -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    np.savez(tmp_path / "a.npz", allow_pickle=False, a=array, b=np.asfortranarray(array))
    for tensor in read_tensors(tmp_path / "a.npz").tensors.values():
        assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]] and tensor.is_contiguous()


@pytest.mark.parametrize("name", ["a.safetensors", "a.npz", "a.pth", "a.th"])
@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 a photo", b"PK\x03\x04 half an archive", bytes(1000)])
def test_files_that_are_not_what_they_say_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} cannot be read as"):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.pth", "there is no file"),
        (".", "there is no file"),
        ("a.caffemodel", "must be made into an .npz"),
        ("a.onnx", "is no kind of weights"),
        ("whole.pth", "refused and nothing in it was run: it asks for torch.nn"),
        ("list.pth", "holds a list, not tensors by name"),
        ("empty.pth", "holds no tensors"),
        ("huge.safetensors", "cannot be read as a safetensors file"),
    ],
)
def test_other_files_are_refused(name: str, message: str, tmp_path: Path) -> None:
    for written in ("a.caffemodel", "a.onnx"):
        (tmp_path / written).write_bytes(b"")
    torch.save(nn.Linear(1, 1), tmp_path / "whole.pth")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    (tmp_path / "huge.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{")
    with pytest.raises(UserError, match=message):
        read_tensors(tmp_path / name)
