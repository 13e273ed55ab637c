"""The history of a run, from its log, and its picture."""

import json
from pathlib import Path
from typing import Any

import pytest

from imclass.app.runs.curves import Curves, history
from imclass.app.runs.directory import Run
from imclass.app.runs.log import record
from imclass.training.events import Consumer, EpochEnd, Evaluated, StepEnd
from tests.support.events import at, evaluation


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_consumers_are_matched_by_what_they_do(run: Run) -> None:
    assert isinstance(Curves(run), Consumer)
    assert not isinstance(print, Consumer)


def write_log(run: Run, *entries: dict[str, Any]) -> None:
    run.log.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + '{"event": "epo')


def test_history_has_a_row_for_each_finished_epoch(run: Run) -> None:
    write_log(
        run,
        record(StepEnd(at(1, 1), 1.0, 0, 8, 0.1, 0.0, 1.0)),
        record(Evaluated(at(2, 2), evaluation(0.75), "test")),
        record(EpochEnd(at(2, 2), 0.5, 0.25, 16, 0)),
        record(Evaluated(at(4, 2, 1), evaluation(0.5), "test")),
    )
    assert history(run) == [{"epoch": 1, "train_loss": 0.5, "train_error": 0.75, "test_loss": 0.25, "test_error": 0.25}]


def test_there_is_no_history_without_a_log(run: Run) -> None:
    assert history(run) == []


def test_curves_are_drawn_now_and_then(run: Run) -> None:
    picture = run.folder / "curves.png"
    rare, eager = Curves(run), Curves(run, every=0.0)
    end = EpochEnd(at(2, 2), 0.5, 0.25, 16, 0)
    eager.see(end)
    assert not picture.exists()  # there is nothing in the log to draw
    write_log(run, record(end))
    rare.see(end)
    assert not picture.exists()
    eager.see(StepEnd(at(1, 1), 1.0, 0, 8, 0.1, 0.0, 1.0))
    assert not picture.exists()
    eager.see(end)
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()
    rare.close()
    assert picture.exists()
