"""Reproducible values for the tensors of a network, by their names: those that the recorded scores were computed with.

The recorded files lie in `parity/`: `networks.json` has name and shape of every tensor of 22 networks of torchvision
and timm, `scores.npz` what these gave for `images` with the values of `filled`.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).with_name("parity")


def recorded() -> dict[str, dict[str, Any]]:
    """For "torchvision.resnet18" and the like: `size`, `parameters`, `state` (name to shape)."""
    networks: dict[str, dict[str, Any]] = json.loads((FOLDER / "networks.json").read_text())
    return networks


def scores(key: str) -> np.ndarray:
    """The recorded scores, 2 x 1000."""
    with np.load(FOLDER / "scores.npz", allow_pickle=False) as archive:
        found: np.ndarray = archive[key]
    return found


def images(size: int) -> np.ndarray:
    """The two images that were scored, 2 x 3 x size x size, already normalised."""
    return np.random.default_rng(0).normal(0, 1, (2, 3, size, size)).astype(np.float32)


def filled(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Each tensor's values from a generator of its own, seeded with its name."""
    return {name: values(name, tuple(shape)) for name, shape in state.items()}


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Counters 0; batch norms' variances and scales in [0.5, 1.5); means and biases small; weights N(0, 2 / fan-in)."""
    draw = np.random.default_rng(zlib.crc32(name.encode()))
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if kind == "running_var" or (kind == "weight" and len(shape) == 1):
        return draw.uniform(0.5, 1.5, shape).astype(np.float32)
    if kind in ("running_mean", "bias"):
        return draw.normal(0, 0.1, shape).astype(np.float32)
    return draw.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
