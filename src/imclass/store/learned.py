"""Arrays that parts of pipelines have learned, kept in the store so that they are not learned again."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError, safe_open

from imclass.core.files import write_file
from imclass.core.model_file import tensors_digest
from imclass.store.index import json_digest
from imclass.store.store import Store

KEY, SUM = "key", "sha256"


@dataclass(frozen=True)
class LearnedArrays:
    """A file with the arrays that were learned under a key."""

    path: Path
    digest: str  # of the key

    def read(self) -> dict[str, np.ndarray] | None:
        """Return the arrays, or None if there are none, or if the file is damaged or belongs to another key."""
        try:
            with safe_open(self.path, "numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a dict)
                return arrays if file.metadata() == self.seal(arrays) else None
        except (OSError, SafetensorError, ValueError):
            return None

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays. Do nothing if the store is not writable."""
        plain = {name: array.copy(order="C") for name, array in arrays.items()}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_file(self.path, safetensors.numpy.save(plain, self.seal(plain)))

    def seal(self, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
        """Return the metadata of a file with these arrays."""
        return {KEY: self.digest, SUM: tensors_digest({name: torch.from_numpy(a) for name, a in arrays.items()})}


def open_learned(store: Store, key: Any) -> LearnedArrays:
    """Return the arrays kept in a store for `key`, a plain JSON value."""
    digest = json_digest(key)
    return LearnedArrays(store.computed / "learned" / f"{digest[:32]}.safetensors", digest)
