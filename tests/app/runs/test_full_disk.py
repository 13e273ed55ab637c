"""A disk that becomes full at any write: one message, and no good checkpoint is lost."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imclass.app.cli.main import main
from imclass.app.verbs import train as verb
from imclass.training.checkpoint import Checkpoints
from imclass.training.events import Event, StepEnd
from tests.support.small import digest, start, tree

EPOCHS = 2


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("data") / "pets")


def words(pets: Path, out: Path) -> list[str]:
    """Return a command that trains for two steps an epoch."""
    how = ["--epochs", str(EPOCHS), "--batch", "8", "--keep-checkpoints"]
    return ["train", "mnist-lenet", "--data", str(pets), *how, "--out", str(out)]


@pytest.fixture(scope="module")
def whole(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the digest of a run whose disk was never full."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(words(pets, out)) == 0
    return digest(out)


class Disk:
    """A stand-in for `os.fsync`, where a full disk is noticed at the latest. It fails from call `full_from` on."""

    def __init__(self, full_from: int, once: bool = False) -> None:
        self.full_from, self.once, self.calls = full_from, once, 0
        self.fsync = os.fsync

    def __call__(self, handle: int) -> None:
        self.calls += 1
        if self.calls == self.full_from or (self.calls > self.full_from and not self.once):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.fsync(handle)


def calls_of_a_run(pets: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the number of syncs of an undisturbed run."""
    disk = Disk(10**9)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", disk)
        assert main(words(pets, out)) == 0
    return disk.calls


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_from_some_moment_on(
    every: int, pets: Path, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    calls = calls_of_a_run(pets, tmp_path / "counted", monkeypatch)
    # File and folder: config; each epoch's scores and checkpoint; model, curves, report.
    assert calls == 2 + EPOCHS * (2 + 5) + 2 + 2 + 2
    for full_from in range(1, calls - 3, every):
        out = tmp_path / f"full-{full_from}"
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", Disk(full_from))
            assert main(words(pets, out)) == 2, full_from
        errors = capsys.readouterr().err
        assert errors.count("imclass: ") == 1 and "Traceback" not in errors, errors
        assert "No space left" in errors or "disk is full" in errors
        good_before = newest_step(out)
        assert main(words(pets, out)) == 0, full_from  # room was made
        assert digest(out) == whole, full_from
        assert newest_step(out) >= good_before
        assert not list(out.rglob("*.part"))


@pytest.mark.parametrize("once", [True, False])
def test_a_picture_or_a_report_that_cannot_be_written_ends_no_run(
    once: bool, pets: Path, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    calls, run = calls_of_a_run(pets, tmp_path / "counted", monkeypatch), tmp_path / "run"
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", Disk(calls - 3, once))
        assert main(words(pets, run)) == 0
    errors = capsys.readouterr().err.splitlines()
    notes = [line for line in errors if line.startswith("note: ") and " (" in line]
    assert len(notes) == 2 - once and all("No space left" in note for note in notes)
    assert notes[0].startswith("note: drawing curves.png failed (")
    assert all(f"try again with: imclass report {run}" in note for note in notes[1:])
    assert digest(run) == whole and not (run / "curves.png").exists() and (run / "report.html").exists() == once
    assert (tmp_path / "counted" / "curves.png").exists()
    assert main(words(pets, run)) == 0 and (run / "report.html").exists()  # room was made


def test_the_message_of_a_stop_that_could_not_save_gives_the_reason(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class PressingConsumer:
        """A consumer that fills the disk and presses Ctrl-C in the third step."""

        def see(self, event: Event) -> None:
            if isinstance(event, StepEnd) and event.at.step == 3:
                monkeypatch.setattr(os, "fsync", Disk(1))
                signal.raise_signal(signal.SIGINT)

        def close(self) -> None:
            pass

    monkeypatch.setattr(verb, "progress_consumer", lambda *_: PressingConsumer())
    assert main(words(pets, tmp_path / "run")) == 75
    assert "stopped at step 3; not saved: [Errno 28] No space left" in capsys.readouterr().err
    assert newest_step(tmp_path / "run") == 2


def newest_step(out: Path) -> int:
    """Return the step of the newest checkpoint, which must be complete, or -1 without one."""
    kept = Checkpoints(out / "checkpoints")
    found, problems = kept.newest()
    assert problems == ()
    return int(found.record["at"]["step"]) if found else -1


@pytest.mark.parametrize("moment", [5, 9])
def test_a_checkpoint_that_cannot_be_written_is_skipped(
    moment: int, pets: Path, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "fsync", Disk(moment, once=True))
    assert main(words(pets, tmp_path / "run")) == 0
    assert "no checkpoint could be written" in capsys.readouterr().err
    assert digest(tmp_path / "run") == whole


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 16 KiB, or skip the test if that is not allowed."""
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def resize(place: Path, size: str) -> None:
    """Change the size of the tiny disk."""
    subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kibibytes", [500, 4, 12])
def test_a_disk_that_is_really_full(kibibytes: int, pets: Path, whole: str, tiny: Path) -> None:
    resize(tiny, f"{kibibytes}k")
    process = start(words(pets, tiny / "run"), tiny)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and printed == ""
    assert errors.count("imclass: ") == 1 and "Traceback" not in errors and "Exception" not in errors, errors
    kept = newest_step(tiny / "run")
    assert kept == (2 if kibibytes == 500 else -1)
    resize(tiny, "4m")
    assert main(words(pets, tiny / "run")) == 0
    assert digest(tiny / "run") == whole


@pytest.mark.slow
def test_a_limit_on_file_sizes_is_reported(pets: Path, tmp_path: Path) -> None:
    """Set `ulimit -f` so that a config fits, and a model file does not."""
    command = 'ulimit -f 16; exec "$0" -m imclass "$@"'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, *words(pets, tmp_path / "run")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("imclass: ") == 1 and "Traceback" not in done.stderr
    assert "File too large" in done.stderr
