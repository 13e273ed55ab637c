"""Checkpoints that are either complete or absent: folders written under a temporary name, synced, then renamed.

The order matters and is tested against simulated power losses (Pillai et al., OSDI 2014): sync every file, sync the
folder that lists them, rename it, then sync its parent. The SHA-256 digests in the manifest reveal damage that
occurs later, on disk or during copying. If a checkpoint is damaged, the one before it is used.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from imclass.core.errors import UserError
from imclass.core.files import sync_folder

CHECKPOINT_FORMAT = 2
MODEL_PREFIX = "model."  # before the names of the network's tensors
AVERAGE_PREFIX = "average."  # before the names of the averaged tensors
TENSORS_FILE, RECORD_FILE, MANIFEST_FILE = "tensors.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint, read and verified."""

    path: Path
    tensors: dict[str, Tensor]
    record: dict[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run. Only the newest `keep` are kept."""

    folder: Path
    keep: int = 2

    def save(self, name: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> Path:
        """Write a checkpoint durably under `name`, and return its path. Names must sort by age.

        If an `OSError` is raised, earlier checkpoints are still intact.
        """
        self.folder.mkdir(exist_ok=True)  # without parents, so that a run's folder is not recreated after it was moved
        final, working = self.folder / name, self.folder / f".{name}.part"
        shutil.rmtree(working, ignore_errors=True)
        try:
            os.mkdir(working)
            contents = {
                TENSORS_FILE: safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}),
                RECORD_FILE: json.dumps(record, sort_keys=True).encode(),
            }
            digests = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
            manifest = seal_manifest({"format": CHECKPOINT_FORMAT, "files": digests})
            contents[MANIFEST_FILE] = json.dumps(manifest).encode()
            for file, content in contents.items():
                write_durably(working / file, content)
            sync_folder(working)
            shutil.rmtree(final, ignore_errors=True)  # if it exists, it is damaged: a run resumes from intact ones
            os.rename(working, final)
            sync_folder(self.folder)
        except OSError:
            shutil.rmtree(working, ignore_errors=True)
            raise
        self.prune()
        return final

    def prune(self) -> None:
        """Remove all but the newest `keep` checkpoints, and the remains of interrupted saves."""
        for path in [*self.names()[: -self.keep], *self.folder.glob(".*.part")]:
            shutil.rmtree(path, ignore_errors=True)

    def clear(self) -> None:
        """Remove all checkpoints, ignoring errors."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def names(self) -> list[Path]:
        """Return the folders that are named like checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())

    def newest(self) -> tuple[Checkpoint | None, tuple[str, ...]]:
        """Return the newest complete checkpoint, if any, and a sentence about each damaged one that is newer."""
        problems: list[str] = []
        for path in reversed(self.names()):
            try:
                return load_checkpoint(path), tuple(problems)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                problems.append(f"checkpoint {path} is damaged and was skipped: {error}")
        return None, tuple(problems)


def seal_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest with its digest added."""
    return {**manifest, "sha256": hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()}


def write_durably(path: Path, content: bytes) -> None:
    """Write `content` to a new file and sync it to disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and verify it against its manifest. Raise `ValueError` or `OSError` if it is damaged."""
    manifest = json.loads((path / MANIFEST_FILE).read_bytes())
    if manifest != seal_manifest({k: v for k, v in manifest.items() if k != "sha256"}):
        raise ValueError(f"{MANIFEST_FILE} does not match its digest")
    if manifest["format"] != CHECKPOINT_FORMAT:
        raise UserError(
            f"{path} has checkpoint format {manifest['format']}, but this version of imclass reads format "
            f"{CHECKPOINT_FORMAT}; use the version that wrote the checkpoint"
        )
    contents = {}
    for file in (TENSORS_FILE, RECORD_FILE):
        contents[file] = (path / file).read_bytes()
        if hashlib.sha256(contents[file]).hexdigest() != manifest["files"][file]:
            raise ValueError(f"{file} does not match its digest")
    return Checkpoint(path, safetensors.torch.load(contents[TENSORS_FILE]), json.loads(contents[RECORD_FILE]))
