"""Readers of weight files: each kind of file, the names that scripts leave in them, and files that are refused."""

import io
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

from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.models.foreign.convert import ImportOptions, import_weights
from imclass.models.foreign.readers import read_tensors
from tests.support.foreign_weights import TEN, lenet, weights_of


def test_wrappers_of_training_scripts_are_removed(tmp_path: Path) -> None:
    original = lenet()
    wrapped = {f"module.{name}": tensor for name, tensor in weights_of(original).items()}
    torch.save({"epoch": 3, "best": torch.tensor(0.5), "state_dict": wrapped}, tmp_path / "a.pth")
    found, match = import_weights(tmp_path / "a.pth", "lenet-5", ImportOptions(classes=TEN))
    assert tensors_digest(found.network.state_dict()) == tensors_digest(original.network.state_dict())
    assert match.notes[0] == "'state_dict' is used, 'epoch', 'best' ignored"
    assert match.notes[1] == "all names begin with 'module.', which is removed"


@pytest.mark.parametrize("prefix", ["model.", "net.", "network.", "module.model.", "_orig_mod.module."])
def test_a_prefix_of_all_names_is_removed(prefix: str, tmp_path: Path) -> None:
    """Modules that hold the network as an attribute put its name first."""
    original = lenet()
    torch.save({prefix + name: tensor for name, tensor in weights_of(original).items()}, tmp_path / "a.pth")
    found, _ = import_weights(tmp_path / "a.pth", "lenet-5", ImportOptions(classes=TEN))
    assert tensors_digest(found.network.state_dict()) == tensors_digest(original.network.state_dict())


def test_a_prefix_of_some_names_stays(tmp_path: Path) -> None:
    torch.save({"model.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "a.pth")
    assert set(read_tensors(tmp_path / "a.pth").tensors) == {"model.a", "b"}


@pytest.mark.parametrize("key", ["state_dict_ema", "ema", "params", "model_state", "network", "generator"])
def test_the_only_entry_that_holds_tensors_is_used(key: str, tmp_path: Path) -> None:
    optimiser = {"state": {0: {"momentum": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({key: {"w": torch.ones(2)}, "optimizer": optimiser, "epoch": 3}, tmp_path / "a.pth")
    held = read_tensors(tmp_path / "a.pth")
    assert set(held.tensors) == {"w"}
    assert held.notes == (f"{key!r} is used, 'optimizer', 'epoch' ignored",)


@pytest.mark.parametrize("keys", [("state_dict", "state_dict_ema"), ("student", "teacher"), ("params", "params_ema")])
def test_two_possible_entries_need_a_key(keys: tuple[str, str], tmp_path: Path) -> None:
    torch.save({key: {"w": torch.full((1,), i)} for i, key in enumerate(keys)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=f"several sets of weights, '{keys[0]}', '{keys[1]}'; choose one with --key"):
        read_tensors(tmp_path / "a.pth")
    for i, key in enumerate(keys):
        assert read_tensors(tmp_path / "a.pth", key).tensors["w"].item() == i
    with pytest.raises(UserError, match=f"--key {keys[0]}s: .* has no tensors under that name; did you mean"):
        read_tensors(tmp_path / "a.pth", f"{keys[0]}s")


def test_an_entry_named_for_weights_comes_before_other_tensors(tmp_path: Path) -> None:
    held = {"state_dict": {"w": torch.ones(1)}, "queue": {"keys": torch.ones(1)}, "best": torch.ones(())}
    torch.save(held, tmp_path / "a.pth")
    assert set(read_tensors(tmp_path / "a.pth").tensors) == {"w"}
    assert set(read_tensors(tmp_path / "a.pth", "queue").tensors) == {"keys"}
    torch.save(held["state_dict"], tmp_path / "plain.pth")
    assert set(read_tensors(tmp_path / "plain.pth").tensors) == {"w"}


def test_a_key_is_only_for_pytorch_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", allow_pickle=False, w=np.ones(1))
    with pytest.raises(UserError, match=r"--key ema: .* contains only tensors"):
        read_tensors(tmp_path / "a.npz", "ema")


@pytest.mark.parametrize("name", ["a.PTH", "a.Pt", "a.NPZ", "a.SAFETENSORS"])
def test_a_suffix_may_be_in_capitals(name: str, tmp_path: Path) -> None:
    state = {"w": torch.ones(2)}
    writers: dict[str, Callable[..., None]] = {"npz": as_npz, "safetensors": safetensors.torch.save_file}
    writers.get(name[2:].lower(), torch.save)(state, tmp_path / name)
    assert read_tensors(tmp_path / name).tensors["w"].tolist() == [1, 1]


def as_npz(state: Mapping[str, Tensor], path: Path) -> None:
    with path.open("wb") as file:  # given a path, NumPy would add a suffix
        np.savez(file, allow_pickle=False, **{name: tensor.numpy() for name, tensor in state.items()})


def test_densenet_s_old_names_are_converted(tmp_path: Path) -> None:
    torch.save({"denselayer1.norm.1.weight": torch.ones(1), "classifier.1.weight": torch.ones(1)}, tmp_path / "a.pth")
    assert set(read_tensors(tmp_path / "a.pth").tensors) == {"denselayer1.norm1.weight", "classifier.1.weight"}


class Command:
    """An object that runs a command when it is unpickled without care."""

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
    """A storage, reduced to the words of its persistent id."""

    def __init__(self, *words: Any) -> None:
        self.words = words


class RebuiltTensor:
    """A tensor as PyTorch pickles it, with any claimed shape."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, held: Any) -> Any:
        return held.words if isinstance(held, Storage) else None


def claiming_pickle(values: int, shape: tuple[int, ...], old: bool) -> bytes:
    """Return a pickle of one tensor "w" that claims a storage of this number of values, and this shape."""
    storage = Storage("storage", torch.FloatStorage, "0", "cpu", values, *[None] * old)
    file = io.BytesIO()
    Pickler(file, 2).dump(OrderedDict(w=RebuiltTensor(storage, 0, shape, (1,), False, OrderedDict())))
    return file.getvalue()


def old_file(path: Path, values: int, shape: tuple[int, ...]) -> None:
    """Write a file in the format before PyTorch 1.6, with four values."""
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, info))
    content = claiming_pickle(values, shape, old=True)
    path.write_bytes(head + content + pickle.dumps(["0"], 2) + struct.pack("<q", 4) + bytes(16))


def new_file(path: Path, values: int, shape: tuple[int, ...]) -> None:
    """Write a file in the zip format, with four values."""
    with zipfile.ZipFile(path, "w") as archive:
        parts = {
            "data.pkl": claiming_pickle(values, shape, old=False),
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
    huge = 1 << 40  # values, 4 TiB: allocating them would fail
    for name, values, shape in (("both", huge, (huge,)), ("shape", 4, (huge,)), ("storage", huge, (4,))):
        write(tmp_path / f"{name}.pth", values, shape)
        if name == "storage" and write is new_file:  # a zip file's storage is cut to the bytes that are there
            continue
        with pytest.raises(UserError, match=r"refused|cannot be read"):
            read_tensors(tmp_path / f"{name}.pth")


def npy(shape: str, content: bytes, kind: str = "'<f4'") -> bytes:
    """Return an .npy file with this header."""
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
    with pytest.raises(UserError, match="refused and nothing in it was unpacked: it declares 1 arrays of 40,000,"):
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
def test_archives_of_anything_but_arrays_of_numbers_are_refused(member: tuple[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.npz"):
        read_tensors(npz(tmp_path / "a.npz", member))


def test_column_major_and_big_endian_arrays_are_read_correctly(tmp_path: Path) -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    np.savez(tmp_path / "a.npz", allow_pickle=False, a=array, b=np.asfortranarray(array))
    for tensor in read_tensors(tmp_path / "a.npz").tensors.values():
        assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]] and tensor.is_contiguous()


@pytest.mark.parametrize("name", ["a.safetensors", "a.npz", "a.caffemodel", "a.pth", "a.th"])
@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 a photo", b"PK\x03\x04 half an archive", bytes(1000)])
def test_files_with_a_wrong_suffix_or_damage_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} cannot be read as"):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.pth", "none.pth is not a file"),
        (".", "is not a file"),
        ("a.h5", ".h5 files cannot be read as weights"),
        ("a.onnx", ".onnx files cannot be read as weights"),
        (
            "whole.pth",
            "contains no named tensors, but objects of 'torch.nn.modules.linear.Linear'. Save model.state_dict",
        ),
        ("list.pth", "contains a list, not named tensors"),
        ("empty.pth", r"contains no named tensors, but 'epoch' \(int\), 'args' \(a dictionary of 1\). Save"),
        ("huge.safetensors", "cannot be read as a safetensors file"),
    ],
)
def test_other_files_are_refused(name: str, message: str, tmp_path: Path) -> None:
    for written in ("a.h5", "a.onnx"):
        (tmp_path / written).write_bytes(b"")
    torch.save(nn.Linear(1, 1), tmp_path / "whole.pth")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    torch.save({"epoch": 3, "args": {"lr": 0.1}}, tmp_path / "empty.pth")
    (tmp_path / "huge.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{")
    with pytest.raises(UserError, match=message):
        read_tensors(tmp_path / name)
