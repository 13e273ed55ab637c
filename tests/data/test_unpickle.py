"""Pickles read without running them: honest pickles of every protocol, and malicious ones."""

import contextlib
import copyreg
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.core.errors import UserError
from imclass.data import unpickle as room
from imclass.data.unpickle import unpickle

PATH = Path("batch")
ARRAY = np.arange(24, dtype=np.uint8).reshape(4, 6)
HELD = {"data": ARRAY, "labels": [3, 0, 255, 1], "names": ["apple", b"pear"], "none": None, "yes": True}
NUMPY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
TYPE = b"cnumpy\ndtype\nU\x02%bK\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def python2(code: bytes = b"u1", content: bytes = b"abcdef", columns: bytes = b"\x89", inner: bytes = b"") -> bytes:
    """Return {"data": 2 x 3 bytes, "labels": [1, 2]} as Python 2 and its numpy wrote it. `inner` goes into the list."""
    values = b"(K\x01K\x02K\x03\x86" + TYPE % code + columns + b"U" + bytes([len(content)]) + content + b"tb"
    return b"\x80\x02}q\x01(U\x04dataq\x02" + NUMPY + values + b"U\x06labelsq\x03](K\x01K\x02" + inner + b"eu."


def call(module: str, name: str, *arguments: str, protocol: int = 0) -> bytes:
    """Return a pickle that calls `module.name` with these texts."""
    if protocol == 0:
        texts = "".join(f"S{text!r}\n" for text in arguments)
        return f"c{module}\n{name}\n({texts}tR.".encode()
    short = [b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name, *arguments)]
    if protocol < 4:
        short = [b"X" + len(text).to_bytes(4, "little") + text.encode() for text in ("", "", *arguments)]
        return bytes([0x80, protocol]) + f"c{module}\n{name}\n".encode() + b"(" + b"".join(short[2:]) + b"tR."
    return bytes([0x80, protocol]) + short[0] + short[1] + b"\x93(" + b"".join(short[2:]) + b"tR."


class Evil:
    """An object that is pickled as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class Trusting(pickle.Unpickler):
    """An unpickler that must not be used: it gives a pickle everything it asks for."""


class Named(pickle.Unpickler):
    """An unpickler with a common allow-list: the same names as ours, but they are numpy's."""

    def find_class(self, module: str, name: str, /) -> Any:
        assert (module, name) in room.STAND_INS
        return super().find_class(module, name)


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_honest_pickle_is_read(protocol: int, order: Any) -> None:
    keys = {key.encode() if protocol % 2 else key: value for key, value in HELD.items()}
    found = unpickle(pickle.dumps(keys | {5: 6, "data": np.array(ARRAY, order=order)}, protocol), PATH)
    assert list(found) == list(HELD) or protocol % 2
    assert found["data"].dtype == np.uint8 and (found.pop("data") == ARRAY).all()
    assert found == {key: value for key, value in HELD.items() if key != "data"}


@pytest.mark.parametrize("columns", [False, True])
def test_a_pickle_of_python_2_is_read_as_numpy_reads_it(columns: bool) -> None:
    content = python2(columns=b"\x88" if columns else b"\x89")
    expected = Trusting(io.BytesIO(content), encoding="bytes").load()
    found = unpickle(content, PATH)
    assert found["labels"] == expected[b"labels"] == [1, 2]
    assert found["data"].tolist() == expected[b"data"].tolist() == [[97, 98, 99], [100, 101, 102]] or columns
    assert found["data"].tolist() == expected[b"data"].tolist()


CANARY = "canary"
TOUCH = f"touch {CANARY}"
CODE = f"open({CANARY!r}, 'w').close()"
CALLS = {
    "os.system": ("os", "system", TOUCH),
    "posix.system": ("posix", "system", TOUCH),
    "nt.system": ("nt", "system", TOUCH),
    "os.popen": ("os", "popen", TOUCH),
    "os.mkdir": ("os", "mkdir", CANARY),
    "os.remove": ("os", "remove", "kept"),
    "shutil.rmtree": ("shutil", "rmtree", "folder"),
    "subprocess.Popen": ("subprocess", "Popen", "true"),
    "subprocess.getoutput": ("subprocess", "getoutput", TOUCH),
    "builtins.eval": ("builtins", "eval", CODE),
    "builtins.exec": ("builtins", "exec", CODE),
    "builtins.compile": ("builtins", "compile", CODE, "a", "exec"),
    "builtins.open": ("builtins", "open", CANARY, "w"),
    "builtins.__import__": ("builtins", "__import__", "antigravity"),
    "builtins.getattr": ("builtins", "getattr", "text", "encode"),
    "builtins.input": ("builtins", "input", "?"),
    "builtins.breakpoint": ("builtins", "breakpoint"),
    "Python 2's eval": ("__builtin__", "eval", CODE),
    "Python 2's execfile": ("__builtin__", "execfile", "kept"),
    "Python 2's commands": ("commands", "getoutput", TOUCH),
    "io.open": ("io", "open", CANARY, "w"),
    "_io.FileIO": ("_io", "FileIO", CANARY, "w"),
    "codecs.open": ("codecs", "open", CANARY, "w"),
    "_codecs.decode": ("_codecs", "decode", "text", "rot13"),
    "importlib.import_module": ("importlib", "import_module", "antigravity"),
    "runpy.run_path": ("runpy", "run_path", "kept"),
    "timeit.timeit": ("timeit", "timeit", CODE),
    "pty.spawn": ("pty", "spawn", "true"),
    "webbrowser.open": ("webbrowser", "open", "https://example.org"),
    "socket.create_connection": ("socket", "create_connection", "127.0.0.1"),
    "ctypes.CDLL": ("ctypes", "CDLL", "libc.so.6"),
    "operator.attrgetter": ("operator", "attrgetter", "__class__"),
    "functools.partial": ("functools", "partial", "f"),
    "types.CodeType": ("types", "CodeType", "c"),
    "pathlib.Path": ("pathlib", "Path", CANARY),
    "pickle in a pickle": ("_pickle", "loads", f"cos\nsystem\n(S'{TOUCH}'\ntR."),
    "copyreg": ("copyreg", "_reconstructor", "a", "b"),
    "Python 2's copy_reg": ("copy_reg", "_reconstructor", "a", "b"),
    "numpy.load": ("numpy", "load", "kept"),
    "numpy.fromfile": ("numpy", "fromfile", "kept"),
    "numpy.memmap": ("numpy", "memmap", CANARY),
    "numpy's runstring": ("numpy.testing._private.utils", "runstring", CODE),
    "numpy's scalar": ("numpy.core.multiarray", "scalar", "u1"),
    "torch.load": ("torch", "load", "kept"),
    "torch's bytes": ("torch.storage", "_load_from_bytes", "kept"),
    "torch's tensor": ("torch._utils", "_rebuild_tensor_v2", "kept"),
    "ourselves": ("imclass.core.files", "write", CANARY, "text"),
    "a method of an allowed name": ("numpy", "ndarray.tofile", CANARY),
    "the class of an allowed name": ("numpy", "dtype.__class__", "a"),
    "the module of an allowed name": ("_codecs", "encode.__self__", "a"),
    "a name with controls": ("o\x1b[2Js", "system", "a"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the current folder, with files that an attack may aim at."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "kept").write_text("precious")
    return tmp_path


class Watch:
    """A recorder of Python's audit events: files, processes, imports, code."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.awake = False
        sys.addaudithook(self.note)

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.awake:
            self.events.append(event)


@pytest.fixture(scope="module")
def watch() -> Watch:
    for protocol in range(6):  # the first text imports the codec of its protocol
        with contextlib.suppress(UserError):
            unpickle(pickle.dumps(["text", os.getcwd], protocol), PATH)
    return Watch()


def refusal(content: bytes, watch: Watch, place: Path) -> str:
    """Return the message with which a pickle is refused, after checks that it has done nothing."""
    before = sorted(place.rglob("*"))
    modules = set(sys.modules)
    watch.events.clear()
    watch.awake = True
    try:
        found = unpickle(content, PATH)
    except UserError as error:
        message = str(error)
    else:
        raise AssertionError(f"it was read: {found}")
    finally:
        watch.awake = False
    assert watch.events == []
    assert sorted(place.rglob("*")) == before and set(sys.modules) == modules
    assert message.startswith("batch ") and message.isprintable() and len(message) < 500
    return message


@pytest.fixture(autouse=True)
def warm_up() -> None:
    """Read pickles once, so that imports and compiled patterns of the first use are not recorded."""
    for content in (python2(), b"cos\nsystem\n.", b"."):
        with contextlib.suppress(UserError):
            unpickle(content, PATH)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", CALLS)
def test_a_call_is_refused_by_name(kind: str, protocol: int, watch: Watch, place: Path) -> None:
    module, name, *_ = CALLS[kind]
    content = call(*CALLS[kind], protocol=protocol)
    message = refusal(content, watch, place)
    assert "nothing in it was run" in message
    assert f"{module}.{name}" in message or "\x1b" in module


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("where", ["top", "key", "label", "array", "state", "object array"])
def test_a_call_is_refused_wherever_it_hides(where: str, protocol: int, watch: Watch, place: Path) -> None:
    evil = Evil(os.mkdir, CANARY)
    arrays: dict[str, Any] = {
        "top": evil,
        "key": {(1, evil): 2},
        "label": HELD | {"labels": [1, evil]},
        "array": {"data": evil},
        "state": {"data": Evil(np.ndarray, (2,), np.dtype("u1"), evil)},
        "object array": {"data": np.array([[evil]], dtype=object)},
    }
    message = refusal(pickle.dumps(arrays[where], protocol), watch, place)
    assert f"{os.mkdir.__module__}.mkdir" in message or "numpy" in message or "a type other than" in message


STREAMS = {
    "INST": f"(S'{TOUCH}'\nios\nsystem\n.".encode(),
    "OBJ": f"(cos\nsystem\nS'{TOUCH}'\no.".encode(),
    "NEWOBJ": b"\x80\x02csubprocess\nPopen\n(U\x04true]t\x81.",
    "NEWOBJ_EX": b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93)}\x92.",
    "BUILD of a module's name": b"\x80\x02cos\nenviron\n}U\x04PATHU\x01xsb.",
    "in an allowed call": python2(inner=call("os", "system", TOUCH)[:-1]),
    "in a dtype": b"\x80\x02cnumpy\ndtype\n(" + call("os", "system", TOUCH)[:-1] + b"tR.",
    "in an array's state": b"\x80\x02" + NUMPY + b"(" + call("os", "system", TOUCH)[:-1] + b"tb.",
    "after the dictionary": python2()[:-1] + call("os", "system", TOUCH),
    "a persistent name": b"Pos.system\n.",
    "a persistent name, binary": b"U\x09os.systemQ.",
    "a buffer": b"\x80\x05\x97.",
    "an object array": python2(b"O8"),
    "an object array of a list": python2(b"O8").replace(b"U\x06abcdef", b"]"),
    "a record": python2(b"V8"),
    "a call of ndarray": b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.",
    "a codec that unpacks": b"c_codecs\nencode\n(Va\nVbz2\ntR.",
    "a codec that takes long": b"c_codecs\nencode\n(Va\nVidna\ntR.",
    "attributes of an allowed function": b"\x80\x02c_codecs\nencode\n}U\x01aK\x01sb.",
    "slots of an allowed function": b"\x80\x02c_codecs\nencode\nN}X\x08\0\0\0__call__K\x01s\x86b.",
    "slots of an allowed class": b"\x80\x02cnumpy\nndarray\nN}X\x07\0\0\0__new__K\x01s\x86b.",
    "an array without a state": b"\x80\x02}U\x01a" + NUMPY + b"s.",
    "an array in place of a class": b"\x80\x02" + NUMPY + b")\x81.",
    "a shape below zero": python2().replace(b"K\x02K\x03\x86", b"J\xfe\xff\xff\xffJ\xfd\xff\xff\xff\x86"),
    "a shape that is too large": python2().replace(b"K\x02K\x03\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),
    "a shape of texts": python2().replace(b"K\x02K\x03\x86", b"U\x01aU\x01b\x86"),
    "an empty shape that is too large": python2(content=b"").replace(b"K\x02K", b"\x8a\x09" + b"\x7f" * 9 + b"K")
    .replace(b"K\x03\x86", b"K\x00\x86"),
    "a list of stored values without end": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "the same in text": b"Np99999999999\n.",
    "a tuple that is too deep": b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s.",
    "a frozen set that is too deep": b"\x80\x04(" + b"(" * 200_000 + b"\x91" * 200_000 + b"}.",
    "an extension code": b"\x80\x02\x82\x07.",
    "an integer without end": b"I" + b"9" * 5000 + b"\n.",
    "a text without end": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b"abc.",
    "a frame without end": b"\x80\x04\x95" + b"\xff" * 8 + b"}.",
    "a list, not a dictionary": b"].",
    "nothing": b"",
    "a stop and no more": b".",
    "no stop": python2()[:-1],
    "half": python2()[:60],
    "text": b"<html>not found</html>",
    "an unknown instruction": b"\xff.",
    "a mark without an end": b"(.",
    "a value that was never stored": b"h\x09.",
    "keys that cannot be": b"\x80\x02}(](K\x01eK\x02u.",
}  # fmt: skip


@pytest.mark.parametrize("kind", STREAMS)
def test_a_malformed_pickle_is_refused(kind: str, watch: Watch, place: Path) -> None:
    refusal(STREAMS[kind], watch, place)


def test_an_extension_code_is_refused_even_if_it_is_registered(watch: Watch, place: Path) -> None:
    copyreg.add_extension("os", "getcwd", 7)  # type: ignore[arg-type]
    try:
        assert Trusting(io.BytesIO(b"\x80\x02\x82\x07)R.")).load() == str(place)  # from now on it is in the cache
        assert "EXT1" in refusal(b"\x80\x02\x82\x07)R.", watch, place)
    finally:
        copyreg.remove_extension("os", "getcwd", 7)  # type: ignore[arg-type]


class TestTwins:
    """Without each guard, the harm that it prevents is done."""

    @pytest.mark.parametrize("kind", ["os.system", "os.mkdir", "builtins.exec", "io.open", "pickle in a pickle"])
    @pytest.mark.parametrize("protocol", [0, 2, 4])
    def test_the_call_is_made(self, kind: str, protocol: int, watch: Watch, place: Path) -> None:
        watch.events.clear()
        watch.awake = True
        try:
            found = Trusting(io.BytesIO(call(*CALLS[kind], protocol=protocol))).load()
        except TypeError:  # loads() wants bytes
            assert kind == "pickle in a pickle"
            return
        finally:
            watch.awake = False
        if hasattr(found, "close"):
            found.close()
        assert (place / CANARY).exists() and watch.events

    def test_a_pickle_in_an_object_array_is_run(self, place: Path) -> None:
        content = pickle.dumps(np.array([Evil(os.mkdir, CANARY)], dtype=object), 2)
        Trusting(io.BytesIO(content)).load()
        assert (place / CANARY).exists()

    def test_numpy_takes_bytes_for_pointers(self) -> None:
        """Crash a process that has the common allow-list. Ours never passes this pickle to numpy."""
        content = python2(b"O8", content=b"A" * 48)
        program = f"import sys; sys.path[:] = {sys.path!r}\nfrom tests.data import test_unpickle\nimport io, numpy\n"
        program += f"found = test_unpickle.Named(io.BytesIO({content!r}), encoding='bytes').load()\nrepr(found)"
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert result.returncode < 0
        with pytest.raises(UserError, match="a type other than unsigned bytes"):
            unpickle(content, PATH)

    @pytest.fixture
    def without_guard(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(room, "check_instructions", lambda content, path: None)
        yield

    def test_the_list_of_stored_values_would_grow(self, without_guard: None) -> None:
        content = b"\x80\x02}r\x00\x00\x20\x00."  # 2 M numbers: 32 MB for a pickle of 8 bytes
        assert unpickle(content, PATH) == {}

    def test_deep_tuples_would_be_hashed(self, without_guard: None) -> None:
        content = b"\x80\x02})" + b"\x85" * 70_000 + b"K\x01s."
        assert unpickle(content, PATH) == {}


def test_many_file_names_of_python_3_are_read() -> None:
    names = [b"%d.png" % i for i in range(50_000)]
    content = pickle.dumps({"filenames": names}, 2)
    assert content.count(b"\x86") > 10_000  # a tuple for each
    assert unpickle(content, PATH) == {"filenames": names}


def test_the_largest_allowed_number_of_tuples_can_be_nested() -> None:
    assert unpickle(b"\x80\x02})" + b"\x85" * room.MAX_TUPLES + b"K\x01s.", PATH) == {}


def test_one_pickle_cannot_change_what_the_next_one_gets() -> None:
    for kind in ("attributes of an allowed function", "slots of an allowed function", "slots of an allowed class"):
        with pytest.raises(UserError):
            unpickle(STREAMS[kind], PATH)
    first = room.RestrictedUnpickler(b".", PATH)
    assert first.find_class("_codecs", "encode") is not first.find_class("_codecs", "encode")
    assert unpickle(python2(), PATH)["labels"] == [1, 2]


def test_a_newer_protocol_is_refused_with_the_name_it_asks_for() -> None:
    with pytest.raises(UserError, match=r"numpy\._core\.numeric\._frombuffer"):
        unpickle(pickle.dumps(HELD, 5), PATH)
