"""A run is a directory: its config, its log, its checkpoints, its model."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from imclass.core.codec import Kinds, difference, from_json, to_json
from imclass.core.config import CONFIG_FORMAT, Execution, Training
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.files import write_file
from imclass.core.model_file import DataFacts
from imclass.core.runtime import Runtime
from imclass.data.facts import read_facts, write_facts
from imclass.training.checkpoint import Checkpoint, Checkpoints
from imclass.training.events import RunPosition

NO_FACTS: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class Run:
    """The directory of one training run, and the kinds that its config may name."""

    folder: Path
    kinds: Kinds = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        """Return the folder and how far the run is."""
        state = "finished" if self.is_finished else "begun" if self.config.is_file() else "not begun"
        return f"Run({str(self.folder)!r}, {state})"

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

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
        """Whether the run has come to its end: its model is written last."""
        return self.model.is_file()

    @property
    def has_work(self) -> bool:
        """Whether there is anything here that another configuration would spoil."""
        return self.is_finished or (self.folder / "checkpoints").is_dir()

    def checkpoints(self, keep: int) -> Checkpoints:
        """The checkpoints of this run."""
        return Checkpoints(self.folder / "checkpoints", keep)

    @contextlib.contextmanager
    def hold_lock(self) -> Iterator[None]:
        """No second process trains here meanwhile; otherwise a `UserError`."""
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"another process is training in {self.folder}; wait for it, or give another --out"
                ) from None
            yield

    def plan(
        self,
        training: Training,
        execution: Execution,
        default: Any,
        data: DataFacts,
        counts: Mapping[str, list[int]] = MappingProxyType({}),
        images: Mapping[str, int] = MappingProxyType({}),
    ) -> "Plan":
        """Return what config.json will hold. Raise `UserError` for a directory that is not for this very run.

        `default` is the network's row in its table, `data` the facts of the data, `counts` has the images of each class
        by split, `images` all of a split, which are fewer or more where one may have several labels or none.
        """
        record = {
            "format": CONFIG_FORMAT,
            "training": to_json(training),
            "execution": to_json(execution),
            "data": to_json(data),
            "counts": dict(counts),
            "images": dict(images),
        }
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"--out {self.folder} is a file; give a folder that does not exist yet")
        if not self.config.is_file():
            if self.folder.is_dir() and any(p.name != ".lock" for p in self.folder.iterdir()):
                raise UserError(
                    f"--out {self.folder} holds other files and no config.json of a run; give an empty or a new folder"
                )
            return Plan(record)
        begun = read_run_record(self.config, self.kinds)
        lines = begun.difference(training, to_json(default))
        if self.has_work:
            self.compare(begun, lines, execution, data)
        if lines or not self.has_work:  # before there is work, the data may have changed
            return Plan(record, None if lines else begun.runtime)
        return Plan(record, begun.runtime, read_facts(self.facts, begun.facts) if begun.facts else {})

    def begin(self, plan: "Plan", used: Runtime, facts: Mapping[str, Tensor] = NO_FACTS) -> None:
        """Write the facts of its data and its config.json into the directory, unless there is work in it already."""
        if self.has_work:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.hold_lock():  # by another process that has begun here and has saved nothing yet
                digest = write_facts(self.facts, facts) if facts else ""
                record = plan.record | {"facts": digest, "runtime": to_json(used)}
                write_file(self.config, json.dumps(record, indent=2) + "\n")
        except OSError as error:
            raise UserError(f"--out {self.folder} cannot be written: {error.strerror}; give another folder") from None

    def compare(self, begun: "RunRecord", lines: list[str], execution: Execution, data: DataFacts) -> None:
        """Raise `UserError` with every difference, unless this is the run that the folder was made for."""
        if not lines and begun.digest != data.digest:
            lines = [f"the content of the data {data.path}"]
        changed = [] if execution.plugins_changed else begun.changed(data.plugins)
        if changed and not lines:
            raise UserError(
                f"{self.folder} was begun with other plugins:\n  "
                + "\n  ".join(changed)
                + "\nTo go on with what they are now, give --plugins-changed; the result is then of both"
            )
        if lines:
            raise UserError(
                f"{self.folder} was begun with another configuration:\n  "
                + "\n  ".join(lines)
                + "\nGive another --out for the new one, or the old values to go on"
            )

    def inside(self, data: Dataset) -> tuple[str, ...]:
        """Return a note where the run lies inside the data, in a place that is not read; a class folder is an error."""
        folder, root = self.folder.resolve(), Path(data.origin.path)
        if not folder.is_relative_to(root):
            return ()
        relative = folder.relative_to(root)
        every = data.targets.words(data.classes)
        for parent in (parent.as_posix() for parent in relative.parents[:-1]):
            labels = {every[i] for i in range(len(data)) if data.name(i).startswith(f"{parent}/")}
            if len(labels) == 1:
                where = f"--out {self.folder} lies in the folder of the class {labels.pop()!r}, which is data"
                raise UserError(f"{where}; give a folder outside of {root / parent}")
        return (f"the run {self.folder} lies inside the data {root}, where it is not read as data",)

    def events(self) -> list[dict[str, Any]]:
        """Return the records of the log's whole lines; none where there is no log."""
        return [json.loads(line) for line in log_lines(self.log)] if self.log.is_file() else []

    def cut(self, checkpoint: Checkpoint | None) -> None:
        """Cut the log back to what had happened when `checkpoint` was written; a half-written line goes too.

        Without a checkpoint the run begins anew, and the scores of an earlier beginning go as well.
        """
        if checkpoint is None:
            for folder in (self.folder / "scores", self.folder / "pictures", self.folder / "legs"):
                shutil.rmtree(folder, ignore_errors=True)
        if self.log.is_file():
            stood = from_json(RunPosition, checkpoint.record["at"]) if checkpoint else None
            kept = [line for line in log_lines(self.log) if stood is not None and is_before(json.loads(line), stood)]
            write_file(self.log, "".join(line + "\n" for line in kept))


@dataclass(frozen=True)
class Plan:
    """The content of a new config.json; and the runtime and facts of the run, if this very run has begun."""

    record: dict[str, Any]
    runtime: Runtime | None = None
    facts: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class RunRecord:
    """What a run's config.json holds: its choices, the digest of its data, and the runtime it resolved."""

    training: Training
    execution: Execution
    digest: str
    digests: Mapping[str, str]  # SHA-256 of the plugin files that defined what it uses, such as "network tiny"
    runtime: Runtime
    facts: str  # the digest of what was computed from its data; empty if there is nothing
    counts: Mapping[str, tuple[int, ...]]  # images of each class by split
    images: Mapping[str, int]  # of each split

    def changed(self, digests: Mapping[str, str]) -> list[str]:
        """Return a line for each plugin file in use that is not what it was."""
        keys = dict.fromkeys([*self.digests, *digests])
        states = {key: (self.digests.get(key, "ours")[:12], digests.get(key, "ours")[:12]) for key in keys}
        return [f"{key}: its file was {old}, and is {new}" for key, (old, new) in states.items() if old != new]

    def difference(self, training: Training, default: Mapping[str, Any]) -> list[str]:
        """Return a line for each field that differs in `training`.

        A field that the network's row did not have when the run began has its `default`, as it has in model files.
        A device or a precision is compared with what the run uses; "auto" agrees with anything.
        """
        model = self.training.model
        row = {**default, **model.row} if model.network == training.model.network else model.row
        before = replace(
            self.training,
            model=replace(model, row=row),
            init_digest=training.init_digest,
            device=training.device,
            precision=training.precision,
        )
        used = {"device": self.runtime.device, "precision": self.runtime.arithmetic.precision}
        wishes = {key: wish for key in used if (wish := getattr(training, key)) != "auto"}
        lines = (
            difference(before, training) + rate_order_changes(before, training) + init_changes(self.training, training)
        )
        return lines + difference(used, used | wishes)


def init_changes(before: Training, after: Training) -> list[str]:
    """Return a line where a run would begin from the same name and not from the same weights."""
    old, new = before.init_digest, after.init_digest
    if before.init != after.init or old == new:
        return []
    return [f"init: the SHA-256 of the tensors of {after.init} was {old[:12]}, and is {new[:12]}"]


def rate_order_changes(before: Training, after: Training) -> list[str]:
    """Return a line for each stage whose rates are equal but in another order, as the last that matches wins."""
    pairs = enumerate(zip(before.stages, after.stages, strict=False))
    return [
        f"stages.{i}.rates: {', '.join(old.rates)} before, {', '.join(new.rates)} now"
        for i, (old, new) in pairs
        if old.rates == new.rates and [*old.rates] != [*new.rates]
    ]


def read_run_record(file: Path, kinds: Kinds) -> RunRecord:
    """The content of a run's config.json; what is no such file is a `UserError`."""
    unreadable = UserError(
        f"{file} is not a run's config of format {CONFIG_FORMAT}, which this imclass reads; "
        "train again into another --out"
    )
    try:
        record = json.loads(file.read_bytes())
        if record["format"] != CONFIG_FORMAT:
            raise unreadable
        return RunRecord(
            from_json(Training, record["training"], "", kinds),
            from_json(Execution, record["execution"]),
            str(record["data"]["digest"]),
            from_json(dict[str, str], record["data"].get("plugins", {})),
            from_json(Runtime, record["runtime"]),
            str(record.get("facts", "")),
            from_json(dict[str, tuple[int, ...]], record.get("counts", {})),
            from_json(dict[str, int], record.get("images", {})),
        )
    except (ValueError, KeyError, TypeError, RecursionError, UserError):
        raise unreadable from None


def read_config(file: Path, kinds: Kinds) -> tuple[Training, Execution]:
    """Return the choices of a run, by its directory or its config.json, or alone; a `UserError` names file and key."""
    try:
        record = json.loads((file / "config.json" if file.is_dir() else file).read_bytes())
        if isinstance(record, dict) and record.get("format", CONFIG_FORMAT) != CONFIG_FORMAT:
            raise UserError(f"it has format {record['format']}, and this imclass reads {CONFIG_FORMAT}; train again")
        if not isinstance(record, dict) or "training" not in record:
            return from_json(Training, record, "", kinds), Execution()
        return from_json(Training, record["training"], "", kinds), from_json(Execution, record.get("execution", {}))
    except OSError as error:
        raise UserError(f"--config {file} cannot be read: {error.strerror}; give a run's directory") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"--config {file} cannot be read as JSON: {error}") from None
    except UserError as error:
        raise UserError(f"--config {file}: {error}") from None


def log_lines(log: Path) -> list[str]:
    """The whole lines of a log, each one JSON object."""
    kept = []
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            if isinstance(json.loads(line), dict):
                kept.append(line)
    return kept


def is_before(record: Mapping[str, Any], stood: RunPosition) -> bool:
    """Whether a log record belongs to the time before the checkpoint that stood there."""
    at = RunPosition(**{f.name: record.get(f.name, 0) for f in fields(RunPosition)})
    return at < stood or (at == stood and record.get("event") not in ("epoch_start", "evaluated", "epoch_end"))
