"""The directory of a run: its config, facts, log, checkpoints and model."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from imclass.app.settings.record import RunRecord, config_entry, read_run_record
from imclass.app.settings.series import SERIES, Series
from imclass.core.codec import Kinds, difference, from_json, to_json
from imclass.core.config import CONFIG_FORMAT, Execution, RunConfig
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.files import lock_file, write_file
from imclass.core.model_file import DataFacts
from imclass.core.runtime import Runtime
from imclass.data.facts import read_facts, write_facts
from imclass.training.checkpoint import Checkpoint, Checkpoints
from imclass.training.events import RunPosition

NO_FACTS: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class Run:
    """The directory of a run or of a series of runs, and the tables of entries that its config may name."""

    folder: Path
    kinds: Kinds = field(default_factory=dict, compare=False)
    series: Series | None = None  # whose runs are in subfolders; None for a single run

    def __repr__(self) -> str:
        """Return the folder, and whether the run has begun or is finished."""
        state = "finished" if self.is_finished else "begun" if self.config.is_file() else "not begun"
        return f"Run({str(self.folder)!r}, {state})"

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def results(self) -> Path:
        """Return the file with the results of repeated splits, which have no model in common."""
        return self.folder / "results.json"

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def facts(self) -> Path:
        return self.folder / "facts.safetensors"

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def is_finished(self) -> bool:
        """Return whether the run is finished: its model or, of repeated splits, its results exist. They come last."""
        return self.model.is_file() or self.results.is_file()

    @property
    def has_work(self) -> bool:
        """Return whether the directory contains a model or checkpoints. If so, the configuration may not change."""
        runs = (Run(folder) for kind in SERIES for folder in (self.folder / kind.folder).glob("*/"))
        return self.is_finished or (self.folder / "checkpoints").is_dir() or any(run.has_work for run in runs)

    @property
    def divisions(self) -> "list[Run]":
        """Return the run on each division of the data, in order. A single run has none."""
        if self.series is None:
            return []
        return [Run(self.folder / self.series.folder / str(number)) for number in range(1, self.series.count + 1)]

    def checkpoints(self, keep: int) -> Checkpoints:
        """Return the checkpoints of this run. Only the newest `keep` are kept."""
        return Checkpoints(self.folder / "checkpoints", keep)

    @contextlib.contextmanager
    def hold_lock(self) -> Iterator[None]:
        """Keep other processes from training in this directory. Raise `UserError` if one is already training."""
        with (self.folder / ".lock").open("w") as file:
            if not lock_file(file, wait=0.1):  # `imclass runs` holds it for a moment to see whether it is free
                raise UserError(
                    f"another process is training in {self.folder}; wait until it has finished, or choose another --out"
                )
            yield

    def plan(
        self,
        config: RunConfig,
        execution: Execution,
        default: Any,
        data: DataFacts,
        counts: Mapping[str, list[int]] = MappingProxyType({}),
        images: Mapping[str, int] = MappingProxyType({}),
    ) -> "Plan":
        """Return the new content of config.json, and the runtime and facts recorded earlier.

        Raise `UserError` if the directory contains other files, or the results of another run.

        `default` is the network's row in the table of networks, and a pipeline has none. `counts` has the number of
        images in each class of each split. `images` has the total of each split, which may differ from the sum of its
        counts if an image may have several labels or none.
        """
        record = {
            "format": CONFIG_FORMAT,
            **self.series_entry,
            **config_entry(config),
            "execution": to_json(execution),
            "data": to_json(data),
            "counts": dict(counts),
            "images": dict(images),
        }
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"--out {self.folder} is a file; choose a folder that does not exist yet")
        if not self.config.is_file():
            ours = {".lock", *([self.series.folder] if self.series else [])}  # run 1 begins before config.json exists
            if self.folder.is_dir() and any(p.name not in ours for p in self.folder.iterdir()):
                raise UserError(
                    f"--out {self.folder} contains other files and is not a run (it has no config.json); "
                    "choose a new or empty folder"
                )
            return Plan(record)
        before = read_run_record(self.config, self.kinds)
        lines = [*difference(before.series_entry, self.series_entry), *before.difference(config, to_json(default))]
        if self.has_work:
            self.compare(before, lines, execution, data)
        if lines:
            return Plan(record)
        resolved = before.resolved if before.digest == data.digest else None
        if not self.has_work:  # before the first result the data may still change, so its facts are not kept
            return Plan(record, before.runtime, None, resolved)
        return Plan(record, before.runtime, read_facts(self.facts, before.facts) if before.facts else {}, resolved)

    @property
    def series_entry(self) -> dict[str, int]:
        """Return the entry of config.json with the number of runs of a series, or an empty dict for a single run."""
        return self.series.entry if self.series else {}

    def begin(
        self,
        plan: "Plan",
        used: Runtime,
        facts: Mapping[str, Tensor] = NO_FACTS,
        resolved: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Write config.json and the facts about the data. Do nothing if the directory already contains results."""
        if self.has_work:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.hold_lock():  # another process may have begun this run and saved nothing yet
                digest = write_facts(self.facts, facts) if facts else ""
                record = plan.record | {"facts": digest, "runtime": to_json(used), "resolved": dict(resolved)}
                write_file(self.config, json.dumps(record, indent=2) + "\n")
        except OSError as error:
            raise UserError(
                f"--out {self.folder} cannot be written to: {error.strerror}; choose another --out"
            ) from None

    def compare(self, before: RunRecord, lines: list[str], execution: Execution, data: DataFacts) -> None:
        """Raise a `UserError` that lists the differences if the run in the directory differs from the new run."""
        if not lines and before.digest != data.digest:
            lines = [f"the content of the data {data.path}: images were added, removed or changed"]
        plugins = [] if execution.plugins_changed else before.plugin_changes(data.plugins)
        if plugins and not lines:
            raise UserError(
                f"{self.folder} was begun with different plugins:\n  "
                + "\n  ".join(plugins)
                + "\nTo resume with the current plugins, add --plugins-changed. "
                + "The result then depends on both versions"
            )
        if lines:
            raise UserError(
                f"{self.folder} was begun with a different configuration:\n  "
                + "\n  ".join(lines)
                + "\nChoose another --out for a new run, or use the old values to resume this run"
            )

    def location_notes(self, data: Dataset) -> tuple[str, ...]:
        """Return a note if the run is in the data folder. Raise `UserError` if the run is in the folder of a class."""
        folder, root = self.folder.resolve(), Path(data.origin.path)
        if not folder.is_relative_to(root):
            return ()
        relative = folder.relative_to(root)
        words = data.targets.label_texts(data.classes)
        for parent in (parent.as_posix() for parent in relative.parents[:-1]):
            labels = {words[i] for i in range(len(data)) if data.name(i).startswith(f"{parent}/")}
            if len(labels) == 1:
                problem = f"--out {self.folder} is in the folder with the images of class {labels.pop()!r}"
                raise UserError(f"{problem}; choose a folder outside {root / parent}")
        return (f"the run {self.folder} is inside the data folder {root}; the run's files are not read as data",)

    def events(self) -> list[dict[str, Any]]:
        """Return the records of the log's complete lines, or an empty list if there is no log."""
        return [record for _, record in log_records(self.log)] if self.log.is_file() else []

    def remove_partial_files(self) -> None:
        """Remove the temporary files of models and scores that a killed process left. Only call this with the lock."""
        for pattern in (f".{self.model.name}.*.part", f".{self.results.name}.*.part", ".*.npz.*.part"):
            for path in self.folder.rglob(pattern):
                path.unlink(missing_ok=True)

    def truncate_log(self, checkpoint: Checkpoint | None) -> None:
        """Remove an incomplete last line from the log, and all records that were written after `checkpoint`.

        If there is no checkpoint, the run starts over: the log is emptied, and the files of an earlier attempt are
        removed.
        """
        if checkpoint is None:
            for folder in (self.folder / "scores", self.folder / "pictures", self.folder / "legs"):
                shutil.rmtree(folder, ignore_errors=True)
        if self.log.is_file():
            at = from_json(RunPosition, checkpoint.record["at"]) if checkpoint else None
            kept = [line for line, record in log_records(self.log) if at is not None and is_before(record, at)]
            write_file(self.log, "".join(line + "\n" for line in kept))


@dataclass(frozen=True)
class Plan:
    """The content of a new config.json and, if the run was begun earlier, what was recorded then.

    These records are the runtime, the facts about the data, and the resolved numbers of epochs.
    """

    record: dict[str, Any]
    runtime: Runtime | None = None
    facts: Mapping[str, Tensor] | None = None
    resolved: Mapping[str, int] | None = None


def log_records(log: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the complete lines of a log, each with its JSON object."""
    kept = []
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            if isinstance(record := json.loads(line), dict):
                kept.append((line, record))
    return kept


def is_before(record: Mapping[str, Any], checkpoint: RunPosition) -> bool:
    """Return whether a log record was written before the checkpoint at the given position."""
    at = RunPosition(**{f.name: record.get(f.name, 0) for f in fields(RunPosition)})
    return at < checkpoint or (
        at == checkpoint and record.get("event") not in ("epoch_start", "evaluated", "epoch_end")
    )
