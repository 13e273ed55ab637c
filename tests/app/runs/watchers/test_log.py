"""The log records the events of a run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import imclass
from imclass.app.runs.directory import Run
from imclass.app.runs.watchers import log as watcher
from imclass.app.runs.watchers.log import Log
from imclass.core.errors import UserError
from imclass.training.checkpoint import Checkpoints
from imclass.training.events import EpochStart, StepEnd, summarise_evaluation
from tests.support.events import at, evaluation, events
from tests.support.small import tree


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def records(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.log.read_text().splitlines()]


def test_the_log_has_one_record_per_event_but_none_for_the_start_of_a_step(run: Run) -> None:
    log = Log(run)
    for event in events():
        log.see(event)
    assert len(records(run)) == len(events()) - 1  # immediately, not only when the log is closed
    log.close()
    start, step, nonfinite, evaluated, end, saved, leg = records(run)
    assert [r["event"] for r in records(run)] == [
        "epoch_start",
        "step_end",
        "non_finite",
        "evaluated",
        "epoch_end",
        "saved",
        "leg_end",
    ]
    assert step == {
        "event": "step_end", "stage": 0, "epoch": 0, "batch": 1, "step": 1, "samples": 8, "main": 0.75, "total": 0.75,
        "correct": 3, "images": 7, "rate": 0.1, "waited": 0.5, "seconds": 1.0,
        "refused": [{"path": "a\n.png", "code": "empty", "detail": "the file has 0 bytes"}],
        "alone": [],
    }  # fmt: skip
    assert start["batches"] == 2 and nonfinite["names"] == ["a.png"] and end["top1"] == 0.5
    assert (evaluated["split"], evaluated["top1"], evaluated["loss"], evaluated["total"]) == ("test", 0.5, 0.25, 2)
    assert (leg["path"], leg["metrics"]) == ("run/model.safetensors", {"test": {"top1": 0.5}})
    assert (saved["path"], saved["problem"]) == ("checkpoints/step-2", "the disk is full")


def test_steps_wait_for_a_moment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(watcher.time, "monotonic", lambda: clock[0])
    log, step = Log(run), next(event for event in events() if isinstance(event, StepEnd))
    for clock[0], kept in ((0.04, 0), (0.08, 0), (0.12, 3), (0.16, 3)):
        log.see(step)
        assert len(records(run)) == kept
    log.close()
    assert len(records(run)) == 4


def test_no_record_is_written_twice_if_writing_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    log, step = Log(run), next(event for event in events() if isinstance(event, StepEnd))
    real = log.file
    log.file = FullOnce(real)  # type: ignore[assignment]
    log.see(step)
    with pytest.raises(OSError, match="No space"):
        log.flush()
    log.close()
    assert len(records(run)) == 1


class FullOnce:
    """A file whose first flush fails after its content was written, as on a full disk."""

    def __init__(self, file: Any) -> None:
        self.file, self.write, self.close, self.full = file, file.write, file.close, True

    def flush(self) -> None:
        self.file.flush()
        if self.full:
            self.full = False
            raise OSError(28, "No space left on device")


def test_the_log_has_the_steps_before_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, a run that is killed after the checkpoint would lack their records after a resume."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets")
    found, real = [], Checkpoints.save

    def save(self: Checkpoints, name: str, *rest: Any) -> Any:
        found.append((int(name[5:15]), sum(record["event"] == "step_end" for record in records(Run(Path("run"))))))
        return real(self, name, *rest)

    monkeypatch.setattr(Checkpoints, "save", save)
    monkeypatch.setattr(watcher, "SECONDS", 1e9)
    list(imclass.train("mnist-lenet", "run", data="pets", epochs=1, batch=4, save_steps=2, workers=0, pictures=False))
    assert sorted(set(found)) == [(2, 2), (4, 4)]


@pytest.mark.parametrize("what", ["removed", "moved", "another run's"])
def test_training_stops_when_the_run_is_moved_away(what: str, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    log = Log(run)
    log.see(events()[0])
    run.folder.rename(tmp_path / "elsewhere")
    if what == "removed":
        shutil.rmtree(tmp_path / "elsewhere")
    if what == "another run's":
        run.folder.mkdir()
        run.log.touch()
    with pytest.raises(UserError, match=r"log.jsonl was moved or removed, so training stopped. Restore .*run and"):
        log.see(events()[2])
        log.flush()
    log.close()
    assert not run.log.exists() or run.log.read_text() == ""


def test_a_resumed_epoch_is_not_started_again(run: Run) -> None:
    log = Log(run)
    log.see(EpochStart(at(1, 1), epochs=1, batches=2))
    log.close()
    assert records(run) == []


def test_a_summary_counts_every_image() -> None:
    result = evaluation()
    numbers = summarise_evaluation(result)
    assert numbers["evaluated"] + len(result.refused) == numbers["total"] == 2
