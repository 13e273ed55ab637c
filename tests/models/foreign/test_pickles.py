"""Reading PyTorch's pickles: tensors are found among objects of other classes, and no code that they name is run."""

import argparse
import collections
import enum
import io
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from imclass.core.errors import UserError
from imclass.models.foreign import pickles
from imclass.models.foreign.pickles import read_pickle
from imclass.models.foreign.readers import read_tensors


class Settings(dict[str, Any]):
    """A dictionary whose entries are also attributes, as in configuration libraries."""


class Trainer:
    """An object that holds tensors."""

    def __init__(self) -> None:
        self.rate, self.average = 0.1, torch.ones(3)


class Witness:
    """A class that records when an object of it is made from a file."""

    events: ClassVar[list[str]] = []

    def __init__(self) -> None:
        self.rate = 0.1

    def __setstate__(self, state: object) -> None:
        self.events.append("made")


class Phase(enum.Enum):
    WARM = 1


class Call:
    """An object whose unpickling calls a function and then sets attributes and entries on the result."""

    def __init__(self, function: Any, *arguments: Any, attributes: Any = None, entries: Any = None) -> None:
        self.reduced = function, arguments, attributes, None, entries

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def load_carelessly(held: Any) -> Any:
    """Pickle an object and load it with Python's unrestricted unpickler."""
    return type("Careless", (pickle.Unpickler,), {})(io.BytesIO(pickle.dumps(held))).load()


OBJECTS = {
    "argparse.Namespace": argparse.Namespace(lr=0.1, folder=Path("data"), nested=argparse.Namespace(a=[1])),
    "numpy._core.multiarray.scalar": np.float64(91.5),
    "numpy.ndarray": np.arange(3),
    "collections.defaultdict": collections.defaultdict(list, losses=[0.5]),
    "builtins.slice": slice(3),
    f"{__name__}.Settings": Settings(lr=0.1),
    f"{__name__}.Trainer": Trainer(),
    f"{__name__}.Phase": Phase.WARM,
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", OBJECTS)
def test_objects_next_to_the_weights_are_left_out_and_named(name: str, zipped: bool, tmp_path: Path) -> None:
    state = {"w": torch.arange(3.0)}
    content = {"args": OBJECTS[name], "state_dict": state}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    held = read_tensors(tmp_path / "a.pth")
    assert torch.equal(held.tensors["w"], state["w"])
    assert held.notes[0].startswith("objects of ") and repr(name) in held.notes[0]
    assert held.notes[1] == "'state_dict' is used, 'args' ignored"


@pytest.mark.parametrize("zipped", [True, False])
def test_classes_that_a_file_names_are_not_instantiated(zipped: bool, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1), "x": Witness()}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    Witness.events.clear()
    assert set(read_tensors(tmp_path / "a.pth").tensors) == {"w"} and not Witness.events
    load_carelessly(Witness())
    assert Witness.events


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch {}",)),
        (subprocess.check_call, (["touch", "{}"],)),
        (eval, ("__import__('pathlib').Path('{}').touch()",)),
    ],
)
def test_functions_that_a_file_calls_are_not_run(
    function: Any, arguments: tuple[Any, ...], zipped: bool, tmp_path: Path
) -> None:
    path, marker = tmp_path / "a.pth", tmp_path / "ran"
    filled = [[w.format(marker) for w in a] if isinstance(a, list) else a.format(marker) for a in arguments]
    held = {"w": torch.ones(1), "x": Call(function, *filled)}
    torch.save(held, path, _use_new_zipfile_serialization=zipped)
    try:
        assert set(read_tensors(path).tensors) == {"w"}
    except UserError as refused:
        assert "nothing in it was run" in str(refused)
    assert not marker.exists()
    load_carelessly(held["x"])
    assert marker.exists()  # the file was a real danger


def test_attributes_cannot_replace_methods(tmp_path: Path) -> None:
    """Give an ordered dictionary attributes such as `items`, as a pickle may."""
    attributes = dict.fromkeys(("items", "get", "values", "keys", "__iter__", "_metadata"), "no method")
    state = Call(collections.OrderedDict, attributes=attributes, entries=iter([("w", torch.ones(1))]))
    torch.save(state, tmp_path / "a.pth")
    assert set(read_tensors(tmp_path / "a.pth").tensors) == {"w"}


def test_the_number_of_stand_ins_is_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1), "a": argparse.Namespace(p=Path("x"))}, tmp_path / "a.pth")
    assert read_pickle(tmp_path / "a.pth")[1] == ("argparse.Namespace", "pathlib.PosixPath")
    monkeypatch.setattr(pickles, "MAX_STAND_INS", 1)
    with pytest.raises(UserError, match=r"it asks for pathlib\.PosixPath"):
        read_pickle(tmp_path / "a.pth")


def test_stand_ins_are_forgotten_afterwards(tmp_path: Path) -> None:
    torch.save({"a": argparse.Namespace()}, tmp_path / "a.pth")
    read_pickle(tmp_path / "a.pth")
    named = [entry for entry in torch.serialization.get_safe_globals() if isinstance(entry, tuple)]
    assert "argparse.Namespace" not in [name for _, name in named]


def test_a_pickled_network_gives_no_tensors(tmp_path: Path) -> None:
    torch.save({"model": nn.Linear(1, 1), "epoch": 1}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"contains no named tensors, but 'model' .*. Save model.state_dict"):
        read_tensors(tmp_path / "a.pth")
