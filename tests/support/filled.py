"""Reproducible values for the tensors of a network by name, with which the recorded scores were computed.

The recorded files are in `parity/`. `networks.json` has the name and shape of every tensor of 22 networks of
torchvision and timm; `scores.npz` has their scores of `images` with the values of `filled`.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).with_name("parity")


def recorded_networks() -> dict[str, dict[str, Any]]:
    """Return `size`, `parameters` and `state` (shapes by name) of each network, such as "torchvision.resnet18"."""
    networks: dict[str, dict[str, Any]] = json.loads((FOLDER / "networks.json").read_text())
    return networks


def scores(key: str) -> np.ndarray:
    """Return the recorded scores, 2 x 1000."""
    with np.load(FOLDER / "scores.npz", allow_pickle=False) as archive:
        found: np.ndarray = archive[key]
    return found


def images(size: int) -> np.ndarray:
    """Return the two images that were scored, 2 x 3 x size x size, already normalised."""
    return np.random.default_rng(0).normal(0, 1, (2, 3, size, size)).astype(np.float32)


def fill_tensors(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the values of each tensor, from a generator seeded with its name."""
    return {name: values(name, tuple(shape)) for name, shape in state.items()}


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw values of plausible size for one tensor.

    Counters are 0, variances and scales of batch norms in [0.5, 1.5), means and biases N(0, 0.1 squared), and weights
    N(0, 2 / fan-in).
    """
    draw = np.random.default_rng(zlib.crc32(name.encode()))
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if kind == "running_var" or (kind == "weight" and len(shape) == 1):
        return draw.uniform(0.5, 1.5, shape).astype(np.float32)
    if kind in ("running_mean", "bias"):
        return draw.normal(0, 0.1, shape).astype(np.float32)
    return draw.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
