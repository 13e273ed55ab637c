"""Checkpoints, which are complete or absent after failures of the disk and losses of power."""

import errno
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imclass.training import checkpoint
from imclass.training.checkpoint import Checkpoints, load_checkpoint

TENSORS = {"model.a": torch.arange(6.0).reshape(2, 3), "optimiser.a.step": torch.tensor(3.0)}


def save(folder: Path, step: int, value: float = 0.0) -> Path:
    return Checkpoints(folder).save(
        f"step-{step:010d}", {**TENSORS, "model.b": torch.tensor([value])}, {"at": {"step": step}}
    )


def test_round_trip(tmp_path: Path) -> None:
    save(tmp_path, 7, 1.5)
    found, problems = Checkpoints(tmp_path).newest()
    assert found is not None and not problems
    assert torch.equal(found.tensors["model.a"], TENSORS["model.a"]) and found.tensors["model.b"].item() == 1.5
    assert found.record == {"at": {"step": 7}}


def test_an_empty_or_absent_folder_has_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "absent").newest() == (None, ())


def test_the_newest_few_are_kept_and_leftovers_removed(tmp_path: Path) -> None:
    (tmp_path / ".step-0000000001.part").mkdir()
    for step in range(5):
        save(tmp_path, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-0000000003", "step-0000000004"]


def test_every_damage_is_found_and_the_checkpoint_before_is_used(tmp_path: Path) -> None:
    """Flip a bit at 200 places, and truncate in four ways, each of the three files."""
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    places, generator = 0, np.random.default_rng(0)
    for file in ("tensors.safetensors", "state.json", "manifest.json"):
        whole = (newest / file).read_bytes()
        flips = generator.integers(0, len(whole) * 8, 200)
        damaged = [flip_bit(whole, int(bit)) for bit in flips] + [
            whole[:cut] for cut in (0, 1, len(whole) // 2, len(whole) - 1)
        ]
        for content in damaged:
            (newest / file).write_bytes(content)
            found, problems = Checkpoints(tmp_path).newest()
            assert found is not None and found.record["at"]["step"] == 1 and "step-0000000002" in problems[0]
            places += 1
        (newest / file).write_bytes(whole)
    assert places == 612
    found, problems = Checkpoints(tmp_path).newest()
    assert found is not None and found.record["at"]["step"] == 2 and not problems  # repaired, it is accepted again


def flip_bit(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / "state.json").unlink()
    found, _ = Checkpoints(tmp_path).newest()
    assert found is not None and found.record["at"]["step"] == 1


def test_a_damaged_checkpoint_is_replaced_by_the_next_save_of_its_step(tmp_path: Path) -> None:
    path = save(tmp_path, 2)
    (path / "state.json").write_text("{")
    save(tmp_path, 2, 9.0)
    assert load_checkpoint(path).tensors["model.b"].item() == 9.0


@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename", "mkdir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_older_checkpoints_stay_when_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Let the first, second, third ... system call of a save fail, until a save succeeds."""
    save(tmp_path, 1)
    real, failures = getattr(os, call), 0
    for nth in range(1, 60):
        count = 0

        def failing(*args: Any, nth: int = nth, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == nth:
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, call, failing)
        try:
            save(tmp_path, 2)
            monkeypatch.setattr(os, call, real)
            if count < nth:  # a save makes fewer calls than that, so none of them failed
                break
            shutil.rmtree(tmp_path / "step-0000000002")
        except OSError:
            failures += 1
            monkeypatch.setattr(os, call, real)
            found, problems = Checkpoints(tmp_path).newest()
            assert found is not None and found.record["at"]["step"] in (1, 2) and not problems
            assert not list(tmp_path.glob(".*.part"))
            shutil.rmtree(tmp_path / "step-0000000002", ignore_errors=True)
    assert failures >= 1
    assert load_checkpoint(tmp_path / "step-0000000002").record["at"]["step"] == 2


# Simulated loss of power: the system calls of a save are recorded. Every state that a disk may be in after a crash at
# any point is then built and read (Pillai et al., OSDI 2014).


@dataclass
class Recorder:
    """A stand-in for `os` in the checkpoint module that records system calls and makes them."""

    root: Path
    operations: list[tuple[str, ...]] = field(default_factory=list)
    handles: dict[int, Path] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        handle = os.open(path, flags, mode)
        self.handles[handle] = Path(path)
        if flags & os.O_CREAT:
            self.operations.append(("create", self.short(path)))
        return handle

    def write(self, handle: int, content: Any) -> int:
        n = os.write(handle, content)
        self.operations.append(("write", self.short(self.handles[handle]), bytes(content[:n]).hex()))
        return n

    def fsync(self, handle: int) -> None:
        self.operations.append(("fsync", self.short(self.handles[handle])))

    def mkdir(self, path: Any, mode: int = 0o777) -> None:
        os.mkdir(path, mode)
        self.operations.append(("mkdir", self.short(path)))

    def rename(self, a: Any, b: Any) -> None:
        os.rename(a, b)
        self.operations.append(("rename", self.short(a), self.short(b)))

    def short(self, path: Any) -> str:
        return str(Path(path).relative_to(self.root))


def crash_states(operations: list[tuple[str, ...]], folder: Path, base: Path) -> int:
    """Read the checkpoints in every state after a crash. Return the number of states with damage or no checkpoint."""
    lost = 0
    for cut in range(len(operations) + 1):
        for content in ("dropped", "half", "kept"):
            for names in ("lost", "kept"):
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(base, folder)
                replay(operations[:cut], folder, content, names)
                found, problems = Checkpoints(folder).newest()
                lost += found is None or bool(problems)
    return lost


def replay(operations: list[tuple[str, ...]], folder: Path, content: str, names: str) -> None:
    """Write the files of a disk after these operations.

    `content` is what happened to content that was not synced: "dropped", "half" or "kept". `names` is what happened to
    renames that were not synced: "lost" or "kept".
    """
    files: dict[str, bytes] = {}
    synced: dict[str, bytes] = {}
    moved: list[tuple[str, str, bool]] = []
    for kind, *arguments in operations:
        match kind:
            case "create":
                files[arguments[0]] = b""
            case "write":
                files[arguments[0]] += bytes.fromhex(arguments[1])
            case "fsync" if arguments[0] in files:
                synced[arguments[0]] = files[arguments[0]]
            case "fsync":
                moved = [(a, b, done or str(Path(b).parent) == arguments[0]) for a, b, done in moved]
            case "rename":
                moved.append((arguments[0], arguments[1], False))
    for a, b, durable in moved:
        if durable or names == "kept":
            files = {n.replace(a, b, 1) if n.startswith(a + "/") else n: c for n, c in files.items()}
            synced = {n.replace(a, b, 1) if n.startswith(a + "/") else n: c for n, c in synced.items()}
    for name, whole in files.items():
        kept = whole if content == "kept" else whole[: len(whole) // 2] if content == "half" else b""
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(synced.get(name, kept))


@pytest.mark.parametrize("guard", ["on", "no fsync of files", "rename before fsync"])
def test_loss_of_power_at_any_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str) -> None:
    """Expect no damaged checkpoint after any crash with all guards, and some without one of them."""
    base = tmp_path / "base"
    save(base, 1)
    work = tmp_path / "work"
    shutil.copytree(base, work)
    recorder = Recorder(work)
    monkeypatch.setattr(checkpoint, "os", recorder)
    monkeypatch.setattr(checkpoint, "sync_folder", lambda p: recorder.operations.append(("fsync", recorder.short(p))))
    save(work, 2)
    monkeypatch.undo()
    operations = recorder.operations
    assert [kind for kind, *_ in operations].count("fsync") == 5  # three files, the folder itself, the folder above
    if guard == "no fsync of files":
        operations = [o for o in operations if o[0] != "fsync" or o[1] == "."]
    if guard == "rename before fsync":
        rename = next(o for o in operations if o[0] == "rename")
        first = next(i for i, o in enumerate(operations) if o[0] == "fsync")
        operations = (
            [o for o in operations[:first] if o != rename] + [rename] + [o for o in operations[first:] if o != rename]
        )
    lost = crash_states(operations, tmp_path / "state", base)
    assert (lost == 0) if guard == "on" else (lost > 0)


def test_the_manifest_names_every_file(tmp_path: Path) -> None:
    manifest = json.loads((save(tmp_path, 1) / "manifest.json").read_text())
    assert set(manifest["files"]) == {"tensors.safetensors", "state.json"} and manifest["format"] == 2
