"""Helpers for tests of the app: small trees of images, untrained models, fingerprints of folders."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imclass.core.config import Cut, Model
from imclass.core.model_file import Provenance, read_model, tensors_digest
from imclass.core.preprocess import Preprocess
from imclass.models.classifier import NetworkClassifier, create

CLASSES = ("cat", "dog")
SQUASH = Preprocess(size=28, colour="grey", resize="squash")


def picture(seed: int, bright: bool = False, side: int = 12) -> np.ndarray:
    """Return a noisy H W 3 image, whose right half is brighter if `bright`."""
    levels = np.random.default_rng(seed).integers(0, 120, (side, side, 3), dtype=np.uint8)
    if bright:
        levels[:, side // 2 :] += np.uint8(120)
    return levels


def tree(folder: Path, per_class: int = 10, classes: Sequence[str] = CLASSES, side: int = 12) -> Path:
    """Write PNG files into a folder per class below `folder`; every second class has bright images."""
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            Image.fromarray(picture(1000 * k + i, k % 2 == 1, side)).save(folder / name / f"{i:03d}.png")
    return folder


def lock(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make listing folders of this name fail. Permissions would not do, because root ignores them."""
    scandir = os.scandir

    def refuse(path: Path) -> Any:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


def save_untrained(path: Path, classes: Sequence[str] = CLASSES, **known: Any) -> NetworkClassifier:
    """Write the model file of an untrained LeNet-5; `known` are fields of its `Provenance`."""
    classifier = create(Model("lenet-5", mean=(0.4,), std=(0.25,)), tuple(classes), SQUASH)
    with torch.no_grad():  # scores of fresh weights hardly differ between images
        for parameter in classifier.network.parameters():
            parameter.mul_(2)
    classifier = replace(classifier, trained=Provenance(**known)) if known else classifier
    classifier.save(path)
    return classifier


def provenance(path: Path) -> Provenance:
    """Return the provenance in the model file of a run, or in the one at a path."""
    found = read_model(path / "model.safetensors" if path.is_dir() else path)[1].trained
    assert found is not None
    return found


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 over all names, contents and times of change below `folder`."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=os.fsencode):
        content = path.read_bytes() if path.is_file() else b""
        stamp = path.lstat().st_mtime_ns
        total.update(os.fsencode(path.relative_to(folder)) + f"\0{stamp}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def digest(run: Path) -> str:
    """Return the digest of the tensors of a run's model."""
    return tensors_digest(read_model(run / "model.safetensors")[0])


def start(words: Sequence[str], folder: Path, more: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """Start the command as a process in `folder`. It receives Ctrl-C even if the tests run in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "imclass", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(more or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 60.0) -> None:
    """Return once the condition holds; fail if the process ends before, or time runs out."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.01)


def training_files(folder: Path) -> set[Path]:
    """Return the files that a training with --split-seed 3 does not hold out."""
    from imclass.data.catalog import open_split
    from imclass.store.context import open_context

    training = open_split(str(folder), "train", open_context(), Cut(seed=3))
    return {folder / training.name(i) for i in range(len(training))}
