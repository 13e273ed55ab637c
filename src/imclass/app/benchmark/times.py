"""The times that the entries of a benchmark took, over all sessions of a run that was interrupted."""

import contextlib
import hashlib
import json
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import torch

from imclass.app.machine.hardware import read_processor
from imclass.app.runs.directory import Run
from imclass.core.codec import from_json, to_json
from imclass.core.config import RunConfig
from imclass.core.errors import UserError
from imclass.core.files import write_file
from imclass.training.events import Evaluated, Event, LegEnd, TaskProgress
from imclass.training.fits.fitter import TRAIN

LEDGER, COMPUTED = "benchmark.json", ".computed"
FORMAT = 1
PERIOD = 5.0  # seconds of a killed session that may be lost


@dataclass(frozen=True)
class EntryTime:
    """The time that an entry took, in seconds, and what it was measured with."""

    config: str  # the digest of the entry's config
    training: float = 0.0  # including the preparation of data
    evaluation: float = 0.0  # scoring of held-out images, and writing of models and pictures
    sessions: int = 0
    machines: tuple[str, ...] = ()  # processors and versions, one for each kind of session


@dataclass
class Ledger:
    """The times of the entries in a benchmark's folder. They are written to a file every few seconds."""

    folder: Path
    times: dict[str, EntryTime] = field(default_factory=dict)

    def begin(self, name: str, run: Run, config: RunConfig) -> "Stopwatch":
        """Return a started stopwatch for a session of the entry with this name.

        The times and features of an earlier attempt with another config, or of a run that was removed, are forgotten.
        """
        digest = hashlib.sha256(json.dumps(to_json(config), sort_keys=True).encode()).hexdigest()
        known = self.times.get(name)
        if known is None or known.config != digest or not run.config.is_file():
            shutil.rmtree(self.scratch(name), ignore_errors=True)
            known = EntryTime(digest)
        machine = machine_text()
        machines = known.machines if machine in known.machines else (*known.machines, machine)
        known = replace(known, sessions=known.sessions + 1, machines=machines)
        return Stopwatch(known, lambda found: self.keep(name, found))

    def keep(self, name: str, found: EntryTime) -> None:
        """Write the time of an entry."""
        self.times[name] = found
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {"format": FORMAT, "entries": {name: to_json(one) for name, one in self.times.items()}}
        write_file(self.folder / LEDGER, json.dumps(record, indent=2) + "\n")

    def scratch(self, name: str) -> Path:
        """Return the folder for what an entry computes from images. It is removed when the entry is finished."""
        return self.folder / COMPUTED / name

    def clean(self, name: str) -> None:
        """Remove what a finished entry computed from images."""
        shutil.rmtree(self.scratch(name), ignore_errors=True)
        with contextlib.suppress(OSError):  # other entries still have something
            (self.folder / COMPUTED).rmdir()


class Stopwatch:
    """A consumer that adds the time between events to that of training, or to that of evaluation."""

    def __init__(
        self, known: EntryTime, keep: Callable[[EntryTime], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.known, self.keep, self.clock = known, keep, clock
        self.last = self.written = clock()

    def see(self, event: Event) -> None:
        """Add the time since the last event. Write the sum if some seconds have passed."""
        now = self.clock()
        self.add(now - self.last, is_evaluation(event))
        self.last = now
        if now - self.written > PERIOD:
            self.written = now
            self.keep(self.known)

    def add(self, seconds: float, evaluation: bool) -> None:
        """Add some seconds."""
        if evaluation:
            self.known = replace(self.known, evaluation=self.known.evaluation + seconds)
        else:
            self.known = replace(self.known, training=self.known.training + seconds)

    def close(self) -> None:
        """Write the sum."""
        self.keep(self.known)


def is_evaluation(event: Event) -> bool:
    """Return whether the time before an event was spent on held-out images, or on writing the model."""
    if isinstance(event, TaskProgress):
        return event.task.startswith("encode ") and event.task != f"encode {TRAIN}"
    return isinstance(event, Evaluated | LegEnd)


def read_ledger(folder: Path) -> Ledger:
    """Return the times in a benchmark's folder, which need not exist.

    Raise `UserError` if the folder contains other files and is not that of a benchmark.
    """
    file = folder / LEDGER
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file; choose a folder that does not exist yet")
    if not file.is_file():
        if folder.is_dir() and any(path.name not in (".lock", COMPUTED) for path in folder.iterdir()):
            raise UserError(
                f"--out {folder} contains other files and is not a benchmark (it has no {LEDGER}); choose a new or "
                "empty folder. To include a finished run, pass its folder as an ENTRY"
            )
        return Ledger(folder)
    try:
        record = json.loads(file.read_bytes())
        entries = record["entries"] if record["format"] == FORMAT else None
        return Ledger(folder, from_json(dict[str, EntryTime], entries, LEDGER))
    except (ValueError, TypeError, KeyError, RecursionError, UserError):
        raise UserError(
            f"{file} is damaged, or was written by another version of imclass; choose another --out"
        ) from None


def machine_text() -> str:
    """Return the processor, the number of usable cores, and the versions of Python, PyTorch and imclass."""
    processor = read_processor()
    cores = f"{processor.usable} {'core' if processor.usable == 1 else 'cores'}"
    return (
        f"{processor.model}, {cores}; imclass {metadata.version('imclass')}, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )
