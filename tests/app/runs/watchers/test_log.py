"""The log records the events of a run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.log import Log
from imclass.core.errors import UserError
from imclass.training.events import EpochStart, summarise_evaluation
from tests.support.events import at, evaluation, events


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
