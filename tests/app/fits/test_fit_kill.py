"""A fit that is killed by SIGKILL in each of its tasks ends with the bits of an unbroken fit."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from imclass.core.codec import to_json
from imclass.core.config import Fitting
from imclass.core.model_file import read_model
from imclass.pipelines.parts.colour_statistics import ColourStatistics
from imclass.pipelines.parts.dense_sift import DenseSift
from imclass.pipelines.parts.fisher import Fisher
from imclass.pipelines.parts.linear_svm import LinearSvm
from imclass.pipelines.parts.pca import Pca
from imclass.pipelines.parts.union import Channel, Union
from imclass.pipelines.parts.words import VisualWords
from tests.support.small import tree

SIFT = (DenseSift(step=2, scales=3), Pca(16), Fisher(16))
COLOUR = (ColourStatistics(step=2, scales=2), VisualWords(64))
SVM = LinearSvm(scaling="common")
PIPELINES = {"chain": (*SIFT, SVM), "union": (Union((Channel(SIFT), Channel(COLOUR))), SVM)}
TASKS = ("sample descriptors", "fit pca", "fit fisher", "encode train", "encode test", "fit linear-svm")


def start(out: str, store: str) -> "subprocess.Popen[bytes]":
    words = ["train", "--config", "fit.json", "--out", out, "--store", store]
    return subprocess.Popen([sys.executable, "-m", "imclass", *words], stderr=subprocess.DEVNULL)


def kill_in(task: str, log: Path) -> bool:
    """Kill a run as soon as its log has a record of a task. Return whether it was still running then."""
    log.unlink(missing_ok=True)
    run = start("run", "store")
    try:
        while run.poll() is None:
            if log.is_file() and f'"task": "{task}"' in log.read_text():
                run.kill()
            time.sleep(0.002)
    finally:
        run.kill()
    return run.wait() == -9


@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
def test_a_fit_killed_in_each_task_has_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "photos", 60, side=72)
    fitting = Fitting("killed", PIPELINES[name], "photos", sample=200_000)
    Path("fit.json").write_text(json.dumps({"fitting": to_json(fitting)}))
    assert start("whole", "other").wait() == 0
    killed = [task for task in TASKS for _ in range(2) if kill_in(task, Path("run/log.jsonl"))]
    assert set(killed) >= {"sample descriptors", "fit fisher", "encode train", "encode test"}
    assert start("run", "store").wait() == 0
    whole, again = (read_model(Path(out) / "model.safetensors")[0] for out in ("whole", "run"))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    assert (tmp_path / "run/scores/test.npz").read_bytes() == (tmp_path / "whole/scores/test.npz").read_bytes()
