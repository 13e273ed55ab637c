"""Signals to a real process: it saves, says how to go on, and what comes of that is what would have come anyway."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imclass.app.cli.main import main
from tests.support.small import digest, start, tree, untrained, wait_until

# A data set of the user's own that takes its time over each image, and tells when the test images are looked at.
SLOW = '''
import os
import time
from pathlib import Path

from imclass.core.contracts import Origin
from imclass.data.source import Source
from imclass.data.sets.folder import DATASETS as FOLDERS


class Slow:
    """The folder "pets", slowly."""

    def __init__(self, whole):
        self.whole, self.array, self.origin = whole, None, Origin("slow", "slow", "published")

    def __getattr__(self, name):
        return getattr(self.whole, name)

    def __len__(self):
        return len(self.whole)

    def __getitem__(self, i):
        if i:  # the first is decoded once before training, to see whether there is anything to score
            Path(f"looking-at-{self.whole.split}").touch()
        time.sleep(float(os.environ.get("SECONDS_AN_IMAGE", "0")))
        return self.whole[i]


def opened(place, split):
    from dataclasses import replace

    return Slow(FOLDERS["folder"].open(replace(place, path=Path("pets")), split))


DATASETS = {"slow": Source(opened, "pets, slowly")}
'''
WORDS = shlex.split(
    "train mnist-lenet --data slow --plugins plugins --memory 0"
    " --epochs 5 --batch 8 --save-every 1000 --model.dropout 0.5"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set: 16 images to train on and 4 to test."""
    world = tmp_path_factory.mktemp("world")
    tree(world / "pets")
    (world / "plugins").mkdir()
    (world / "plugins" / "slow.py").write_text(SLOW)
    return world


@pytest.fixture
def place(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in that folder, where nobody has looked at the test images yet."""
    monkeypatch.chdir(world)
    (world / "looking-at-test").unlink(missing_ok=True)
    return world


@pytest.fixture(scope="module")
def whole(world: Path) -> Path:
    """A run that was never stopped."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(world)
        assert main([*WORDS, "--out", "whole"]) == 0
    return world / "whole"


def test_another_run_ends_otherwise(place: Path, whole: Path) -> None:
    """The twin of all that follow: they would see a difference."""
    assert main([*WORDS, "--out", "other", "--seed", "1"]) == 0
    assert digest(place / "other") != digest(whole)


def steps_done(run: Path) -> int:
    """How many steps the log tells of."""
    log = run / "log.jsonl"
    return log.read_text().count('"step_end"') if log.exists() else 0


def stop(place: Path, out: str, more: list[str], when: Callable[[], bool], *numbers: int) -> str:
    """Train, send these signals once `when` holds, and return the command that the process says goes on."""
    process = start([*WORDS, "--out", out, *more], place, {"SECONDS_AN_IMAGE": "0.03"})
    wait_until(when, process)
    for number in numbers:
        process.send_signal(number)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 75, told
    assert printed == "" and "Traceback" not in told and told.count("imclass: ") == 1
    assert not (place / out / "model.safetensors").exists()
    assert "stopped at step " in told and "; saved. To go on: imclass " in told
    return told.splitlines()[-1].partition("To go on: imclass ")[2]


def check_resumed(run: Path, whole: Path, command: str) -> None:
    """The command ends with the bits of a run that was never stopped."""
    before = steps_done(run)
    assert 0 < before < 10
    saved = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()][-1]
    assert saved["event"] == "saved" and saved["step"] == before and saved["problem"] == ""
    assert main(shlex.split(command)) == 0
    assert digest(run) == digest(whole)
    assert steps_done(run) == steps_done(whole) == 10


@pytest.mark.parametrize(
    ("numbers", "more"),
    [
        pytest.param((signal.SIGINT,), [], id="int"),
        pytest.param((signal.SIGTERM,), ["--workers", "2"], id="term"),
        pytest.param((signal.SIGINT, signal.SIGINT), [], id="int-int", marks=pytest.mark.slow),
    ],
)
def test_a_signal_in_an_epoch(
    numbers: tuple[int, ...], more: list[str], place: Path, whole: Path, request: pytest.FixtureRequest
) -> None:
    out = f"run {request.node.callspec.id}"
    command = stop(place, out, more, lambda: steps_done(place / out) >= 3, *numbers)
    assert command == shlex.join([*WORDS, "--out", out, *more])
    check_resumed(place / out, whole, command)


def test_a_signal_in_an_evaluation(place: Path, whole: Path) -> None:
    command = stop(place, "evaluating", [], (place / "looking-at-test").exists, signal.SIGINT)
    events = [json.loads(line)["event"] for line in (place / "evaluating" / "log.jsonl").read_text().splitlines()]
    assert events[-3:] == ["evaluated", "epoch_end", "saved"]  # it was finished first
    check_resumed(place / "evaluating", whole, command)


@pytest.mark.slow
def test_the_printed_command_works_in_a_shell(place: Path, whole: Path) -> None:
    run = place / "it's a run"
    command = stop(place, run.name, [], lambda: steps_done(run) >= 1, signal.SIGINT)
    done = subprocess.run(["bash", "-c", f"python -m imclass {command}"], env=own_python(), cwd=place, check=False)
    assert done.returncode == 0
    assert digest(run) == digest(whole)


def own_python() -> dict[str, str]:
    """The environment with this Python first."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_a_signal_while_a_model_is_evaluated(place: Path) -> None:
    untrained(place / "model.safetensors")
    words = shlex.split("evaluate model.safetensors --data slow --plugins plugins --split test")
    process = start(words, place, {"SECONDS_AN_IMAGE": "5"})
    wait_until((place / "looking-at-test").exists, process)
    process.send_signal(signal.SIGINT)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 75 and printed == ""
    assert told.splitlines()[-1] == f"imclass: interrupted. To go on: imclass {shlex.join(words)}"
    assert "Traceback" not in told
