"""Signals to real processes: they save, print how to resume, and resumed runs end with the same bits."""

import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imclass.app.acts import outcome
from imclass.app.cli.main import main
from imclass.app.runs import signals
from imclass.app.runs import train as runs
from imclass.app.runs.directory import Run
from imclass.app.runs.watchers import log as watcher
from imclass.data.sets.folder import FolderDataset
from imclass.training import checkpoint
from imclass.training.keeper import Keeper
from tests.support.small import digest, save_untrained, start, tree, wait_until

# A data set of a plugin that takes some time for each image, and leaves a file when it reads the images of a split.
SLOW = '''
import os
import time
from pathlib import Path

from imclass.core.contracts import Origin
from imclass.data.source import DatasetEntry
from imclass.data.sets.folder import DATASETS as FOLDERS


class Slow:
    """The folder "pets", slowly."""

    def __init__(self, inner):
        self.inner, self.array, self.origin = inner, None, Origin("slow", "slow", "published")
        for name in ("classes", "splits", "split", "ids", "targets", "name", "contents", "digest"):
            setattr(self, name, getattr(inner, name))

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, i):
        if i:  # the first is decoded once before training, to check that there is anything to score
            Path(f"reading-{self.inner.split}").touch()
        variable = "SECONDS_A_TEST_IMAGE" if i and self.inner.split == "test" else "SECONDS_AN_IMAGE"
        time.sleep(float(os.environ.get(variable, os.environ.get("SECONDS_AN_IMAGE", "0"))))
        return self.inner[i]


def open_slow(location):
    from dataclasses import replace

    splits = FOLDERS["folder"].open(replace(location, path=Path("pets")))
    return {split: Slow(splits[split]) for split in ("train", "test")}


DATASETS = {"slow": DatasetEntry(open_slow, "pets, slowly")}
'''
WORDS = shlex.split(
    "train mnist-lenet --data slow --plugins plugins --memory 0"
    " --epochs 5 --batch 8 --save-every 1000 --model.dropout 0.5"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the data set: 16 images to train on and 4 to test."""
    world = tmp_path_factory.mktemp("world")
    tree(world / "pets")
    (world / "plugins").mkdir()
    (world / "plugins" / "slow.py").write_text(SLOW)
    return world


@pytest.fixture
def place(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to that folder, and remove the mark of earlier tests."""
    monkeypatch.chdir(world)
    (world / "reading-test").unlink(missing_ok=True)
    return world


@pytest.fixture(scope="module")
def whole(world: Path) -> Path:
    """Train a run that is never stopped."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(world)
        assert main([*WORDS, "--out", "whole"]) == 0
    return world / "whole"


def test_another_seed_gives_another_model(place: Path, whole: Path) -> None:
    """Check, as a twin of all tests below, that a difference would be noticed."""
    assert main([*WORDS, "--out", "other", "--seed", "1"]) == 0
    assert digest(place / "other") != digest(whole)


def steps_done(run: Path) -> int:
    """Return the number of steps in the log."""
    log = run / "log.jsonl"
    return log.read_text().count('"step_end"') if log.exists() else 0


def stop(place: Path, out: str, more: list[str], when: Callable[[], bool], *numbers: int) -> str:
    """Train, send these signals once `when` holds, and return the printed command for resuming."""
    process = start([*WORDS, "--out", out, *more], place, {"SECONDS_AN_IMAGE": "0.03"})
    wait_until(when, process)
    for number in numbers:
        process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert printed == "" and "Traceback" not in errors and errors.count("imclass: ") == 1
    assert not (place / out / "model.safetensors").exists()
    assert "stopped at step " in errors and "; saved. To resume: imclass " in errors
    return errors.splitlines()[-1].partition("To resume: imclass ")[2]


def check_resumed(run: Path, whole: Path, command: str) -> None:
    """Resume with the command, and compare the bits with a run that was never stopped."""
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
        pytest.param((signal.SIGTERM,), ["--workers", "2"], id="term", marks=pytest.mark.slow),
        pytest.param((signal.SIGHUP,), [], id="hup", marks=pytest.mark.slow),
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


@pytest.mark.slow
def test_a_signal_in_an_evaluation(place: Path, whole: Path) -> None:
    command = stop(place, "evaluating", [], (place / "reading-test").exists, signal.SIGINT)
    events = [json.loads(line)["event"] for line in (place / "evaluating" / "log.jsonl").read_text().splitlines()]
    assert events[-2:] == ["step_end", "saved"]  # it did not wait for the other images
    check_resumed(place / "evaluating", whole, command)


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("workers", [0, 1])
def test_scoring_stops_between_two_images(
    workers: int, watched: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check with a twin that scoring goes on to the end without the watch."""
    real, decode, scored, read = runs.evaluate, FolderDataset.__getitem__, list[str](), list[int]()

    def evaluate(*given: Any, **named: Any) -> Any:
        scored.append("test")
        return real(*given, **(named if watched else {**named, "watch": None}))

    def interrupt(self: FolderDataset, i: int) -> Any:
        if self.split == "test" and scored:  # the first image is decoded before training as well
            read.append(i)
            time.sleep(0.02)
            if i == 0:
                os.kill(os.getpid(), signal.SIGINT)  # it reaches the main thread, whichever thread decodes
        return decode(self, i)

    monkeypatch.setattr(FolderDataset, "__getitem__", interrupt)
    monkeypatch.setattr(runs, "evaluate", evaluate)
    run = place / f"between {workers} {watched}"
    tree(place / "many", per_class=30)
    words = shlex.split(
        f"train mnist-lenet --data many --epochs 1 --batch 48 --memory 0 --no-pictures --workers {workers}"
    )
    assert main([*words, "--out", str(run)]) == 75
    assert len(read) <= 6 if watched else len(read) == 12
    assert ("evaluated" in [event["event"] for event in Run(run).events()]) is not watched


def test_a_second_signal_stops_at_once(place: Path, whole: Path) -> None:
    """Let a held-out image never arrive, as from a lost network drive, so that the first signal waits for it."""
    process = start([*WORDS, "--workers", "0", "--out", "hung"], place, {"SECONDS_A_TEST_IMAGE": "60"})
    wait_until((place / "reading-test").exists, process)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(signals.REPEAT_SECONDS + 0.2)  # the twin
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=20)[1]
    assert "\nSIGTERM: saving after this step; a second signal stops at once without saving\n" in errors
    assert "imclass: stopped at once. To resume: imclass train" in errors and "Traceback" not in errors
    assert process.returncode == 75
    assert not list((place / "hung" / "checkpoints").glob("step-*"))
    assert main([*WORDS, "--out", "hung"]) == 0 and digest(place / "hung") == digest(whole)


@pytest.mark.parametrize(
    "at",
    [
        "tensors.safetensors",
        *(pytest.param(at, marks=pytest.mark.slow) for at in ("state.json", "manifest.json")),
        "renamed",
    ],
)
def test_a_second_signal_while_saving_leaves_complete_checkpoints(
    at: str, place: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, write, sync = f"saving {at}", checkpoint.write_durably, checkpoint.sync_folder
    kept = place / out / "checkpoints"
    older, newer = kept / "step-0000000002-epoch-00001", kept / "step-0000000003"

    def press(here: bool) -> None:
        if here and steps_done(place / out) == 3:
            signal.raise_signal(signal.SIGINT)

    def write_and_press(path: Path, content: bytes) -> None:
        here = path.name == at and steps_done(place / out) == 3
        write(path, content[: len(content) // 2] if here else content)
        press(here)

    def sync_and_press(folder: Path) -> None:
        sync(folder)
        press(at == "renamed" and folder.name == "checkpoints")

    class PressingLog(runs.Log):
        def see(self, event: Any) -> None:
            super().see(event)
            press(type(event).__name__ == "StepEnd")

    with monkeypatch.context() as patched:
        patched.setattr(signals, "REPEAT_SECONDS", 0.0)
        patched.setattr(runs, "Log", PressingLog)
        patched.setattr(watcher, "SECONDS", 0.0)  # `steps_done` reads the log
        patched.setattr(checkpoint, "write_durably", write_and_press)
        patched.setattr(checkpoint, "sync_folder", sync_and_press)
        assert main([*WORDS, "--out", out]) == 75
    last = newer if at == "renamed" else older
    message = f"imclass: stopped at once; the last checkpoint is {last.relative_to(place)}. To resume: imclass train"
    assert message in capsys.readouterr().err
    assert [path.name for path in sorted(kept.glob("step-*"))] == [p.name for p in (older, newer) if p <= last]
    assert all(checkpoint.load_checkpoint(path).tensors for path in kept.glob("step-*"))
    assert main([*WORDS, "--out", out]) == 0
    assert digest(place / out) == digest(whole)
    assert not list(kept.glob(".*"))


def ends(run: Path) -> list[dict[str, Any]]:
    """Return the log's records of the ends of epochs."""
    return [event for event in Run(run).events() if event["event"] in ("evaluated", "epoch_end")]


SPLITS = {"test": ["--epochs", "2"], "validation": ["--epochs", "2", "--validation", "0.25"]}


@pytest.mark.parametrize(
    ("split", "epoch", "number"),
    [
        ("test", 1, signal.SIGINT),
        pytest.param("test", 2, signal.SIGHUP, marks=pytest.mark.slow),
        ("validation", 1, signal.SIGTERM),
        pytest.param("validation", 2, signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_signal_between_batches_of_held_out_images(
    split: str,
    epoch: int,
    number: int,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Stop scoring there, also in the last epoch, and score the split again on resume."""
    words = [*WORDS, *SPLITS[split], "--out"]
    assert main([*words, f"{split}-whole"]) == 0
    real, calls = runs.evaluate, itertools.count(1)

    def evaluate(*given: Any, **named: Any) -> Any:
        if given[1].split == split and next(calls) == epoch:
            signal.raise_signal(number)
            named["watch"]()
            raise AssertionError("scoring did not stop")
        return real(*given, **named)

    out = f"{split}-{epoch}"
    with monkeypatch.context() as patched:
        patched.setattr(runs, "evaluate", evaluate)
        capsys.readouterr()
        assert main([*words, out]) == 75
    assert f"stopped at step {2 * epoch}; saved" in capsys.readouterr().err.splitlines()[-1]
    assert main([*words, out]) == 0
    assert digest(place / out) == digest(place / f"{split}-whole")
    assert ends(place / out) == ends(place / f"{split}-whole")


def test_a_signal_while_the_weights_to_keep_are_scored(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Use a validation split, so that test images are scored only once, after the last epoch has been saved."""
    words = [*WORDS, *SPLITS["validation"], "--out", "concluding"]
    real = runs.evaluate

    def evaluate(*given: Any, **named: Any) -> Any:
        if given[1].split == "test":
            signal.raise_signal(signal.SIGTERM)
            named["watch"]()
        return real(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(runs, "evaluate", evaluate)
        assert main(words) == 75
    assert not (place / "concluding" / "model.safetensors").exists()
    assert "saved. To resume" in capsys.readouterr().err
    assert main(words) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_first_step_ends_the_run_at_once(
    number: int, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupt the decoding of all images before it, which can take minutes."""
    decode, calls = FolderDataset.__getitem__, itertools.count()

    def interrupt(self: FolderDataset, i: int) -> Any:
        if next(calls) == 3:
            signal.raise_signal(number)
        return decode(self, i)

    monkeypatch.setattr(FolderDataset, "__getitem__", interrupt)
    words = shlex.split("train mnist-lenet --data pets --workers 0 --epochs 1 --batch 8 --out early")
    shutil.rmtree(place / "early", ignore_errors=True)
    assert main(words) == 75
    assert "imclass: stopped before the first step. To resume: imclass train" in capsys.readouterr().err
    assert next(calls) == 4  # no image was decoded after that
    assert main(words) == 0


@pytest.mark.parametrize("when", ["finish", "write_report"])
def test_a_signal_after_the_last_step_leaves_a_finished_run(
    when: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, module = [*WORDS, "--epochs", "1", "--out", when], Keeper if when == "finish" else outcome
    real = getattr(module, when)

    def interrupt(*args: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return real(*args)

    with monkeypatch.context() as patched:
        patched.setattr(module, when, interrupt)
        assert main(words) == 75
    assert f"imclass: the run is finished: {when}/model.safetensors" in capsys.readouterr().err
    report = place / when / "report.html"
    assert (place / when / "model.safetensors").is_file() and not report.exists()
    assert main(words) == 0 and report.is_file()


@pytest.mark.slow
def test_nohup_is_respected(place: Path) -> None:
    """Check that a signal that is ignored when the command begins stays ignored."""
    words = [*WORDS, "--epochs", "2", "--out", "nohup"]
    ignoring = (
        "import signal, os, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", ignoring, sys.executable, "-m", "imclass", *words],
        cwd=place, env={**os.environ, "OMP_NUM_THREADS": "1", "SECONDS_AN_IMAGE": "0.02"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: steps_done(place / "nohup") >= 1, process)
    process.send_signal(signal.SIGHUP)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 0, errors


@pytest.mark.slow
def test_the_printed_command_works_in_a_shell(place: Path, whole: Path) -> None:
    run = place / "it's a run"
    command = stop(place, run.name, [], lambda: steps_done(run) >= 1, signal.SIGINT)
    done = subprocess.run(["bash", "-c", f"python -m imclass {command}"], env=python_first(), cwd=place, check=False)
    assert done.returncode == 0
    assert digest(run) == digest(whole)


def python_first() -> dict[str, str]:
    """Return the environment with this Python first in PATH."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.slow
def test_a_signal_while_a_model_is_evaluated(place: Path) -> None:
    save_untrained(place / "model.safetensors")
    words = shlex.split("evaluate model.safetensors --data slow --plugins plugins --split test")
    process = start(words, place, {"SECONDS_AN_IMAGE": "5"})
    wait_until((place / "reading-test").exists, process)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 75 and printed == ""
    assert errors.splitlines()[-1] == f"imclass: interrupted. To resume: imclass {shlex.join(words)}"
    assert "Traceback" not in errors
