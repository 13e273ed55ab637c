"""Rows of epochs and steps are read from a run's log, and its curves are drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.curves import POINTS, Curves, epoch_rows, step_rows
from imclass.app.runs.watchers.log import event_record
from imclass.training.events import Consumer, EpochEnd, EpochStart, Evaluated, RunPosition, StepEnd
from tests.support.events import at, evaluation, multilabel_evaluation

pytestmark = pytest.mark.draws_curves


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_curves_are_a_consumer(run: Run) -> None:
    assert isinstance(Curves(run), Consumer)
    assert not isinstance(print, Consumer)


def write_log(run: Run, *entries: dict[str, Any]) -> None:
    run.log.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + '{"event": "epo')


def test_history_has_a_row_for_each_finished_epoch(run: Run) -> None:
    write_log(
        run,
        event_record(StepEnd(at(1, 1), 1.0, 1.0, 0, 8, 0.1, 0.0, 1.0)),
        event_record(Evaluated(at(2, 2), evaluation(0.75), "test")),
        event_record(EpochEnd(at(2, 2), 0.5, {"top1": 0.25}, 16, 0, 0.5)),
        event_record(Evaluated(at(4, 2, 1), evaluation(0.5), "test")),
    )
    assert epoch_rows(run.events()) == [
        {"epoch": 1, "train_loss": 0.5, "train_error": 0.75, "test_loss": 0.25, "test_error": 0.25}
    ]


def test_the_loss_of_auxiliary_heads_has_a_separate_value(run: Run) -> None:
    write_log(run, event_record(EpochEnd(at(2, 2), 0.5, {"top1": 0.25}, 16, 0, 0.625)))
    assert epoch_rows(run.events())[0]["train_auxiliary"] == 0.125


def write_steps(run: Run, epochs: int, batches: int) -> None:
    """Write the log of a run whose step t has loss t and 8 images (the last of an epoch: 4), all right if t is odd."""
    entries = []
    for epoch in range(epochs):
        entries.append(event_record(EpochStart(RunPosition(epoch=epoch, step=epoch * batches), epochs, batches)))
        for batch in range(1, batches + 1):
            step, images = epoch * batches + batch, 4 if batch == batches else 8
            place = RunPosition(epoch=epoch, batch=batch, step=step)
            entries.append(
                event_record(StepEnd(place, float(step), float(step), images * (step % 2), images, 0.1, 0.0, 1.0))
            )
    write_log(run, *entries)


def test_a_short_epoch_has_a_point_for_each_step(run: Run) -> None:
    write_steps(run, epochs=1, batches=4)
    rows = step_rows(run.events())
    assert [row["epoch"] for row in rows] == [0.125, 0.375, 0.625, 0.875]
    assert [row["train_loss"] for row in rows] == [1, 2, 3, 4] and [row["train_error"] for row in rows] == [0, 1, 0, 1]


@pytest.mark.parametrize(("epochs", "batches"), [(1, 391), (7, 20), (70, 5), (2, 1)])
def test_the_training_line_has_enough_points_and_covers_all_steps(epochs: int, batches: int, run: Run) -> None:
    write_steps(run, epochs, batches)
    rows = step_rows(run.events())
    places = np.array([row["epoch"] for row in rows])
    assert epochs * min(batches, -(-POINTS // epochs)) == len(rows) <= max(POINTS + epochs, epochs)
    assert (np.diff(places) > 0).all() and places[0] > 0 and places[-1] < epochs
    if len(rows) == epochs:  # a point is an epoch's mean over images
        weights = np.array([8.0] * (batches - 1) + [4.0])
        losses = np.arange(1, epochs * batches + 1).reshape(epochs, batches)
        assert np.allclose([row["train_loss"] for row in rows], losses @ weights / weights.sum())
        assert np.allclose(places, np.arange(epochs) + 0.5)


def test_a_run_without_a_log_has_no_rows(run: Run) -> None:
    assert epoch_rows(run.events()) == step_rows(run.events()) == []


def test_curves_are_drawn_from_time_to_time(run: Run) -> None:
    picture = run.folder / "curves.png"
    rare, eager = Curves(run), Curves(run, every=0.0)
    end = EpochEnd(at(2, 2), 0.5, {"top1": 0.25}, 16, 0, 0.5)
    eager.see(end)
    assert not picture.exists()  # there is nothing in the log to draw
    write_log(run, event_record(end))
    rare.see(end)
    assert not picture.exists()
    eager.see(StepEnd(at(1, 1), 1.0, 1.0, 0, 8, 0.1, 0.0, 1.0))
    assert not picture.exists()
    eager.see(end)
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()
    rare.close()
    assert picture.exists()


def test_curves_of_a_long_log_are_drawn_less_often(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a picture take a second. Twenty seconds later another is drawn, and not before."""
    now, drawn = [0.0], []

    def draw(*_: Any) -> None:
        drawn.append(now[0])
        now[0] += 1

    monkeypatch.setattr("imclass.app.draw.curves.curves_png", draw)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    end = EpochEnd(at(2, 2), 0.5, {"top1": 0.25}, 16, 0, 0.5)
    write_log(run, event_record(end))
    curves = Curves(run, every=2.0)
    for now[0] in (1.0, 3.0, 7.0, 23.0, 25.0, 26.0):
        curves.see(end)
    assert drawn == [3.0, 25.0]


def test_an_unfinished_epoch_is_drawn(run: Run) -> None:
    write_steps(run, epochs=1, batches=2)
    Curves(run).close()
    assert (run.folder / "curves.png").is_file()


def test_multilabel_rows_have_a_mean_average_precision_and_no_error(run: Run) -> None:
    write_log(
        run,
        event_record(EpochStart(at(0, 0), 1, 2, "exact")),
        event_record(StepEnd(at(1, 1), 1.0, 1.0, 4, 8, 0.1, 0.0, 1.0)),
        event_record(StepEnd(at(2, 2), 0.5, 0.5, 4, 8, 0.1, 0.0, 1.0)),
        event_record(Evaluated(at(2, 2), multilabel_evaluation(0.75), "validation")),
        event_record(EpochEnd(at(2, 2), 0.75, {"exact": 0.5}, 16, 0, 0.75)),
    )
    log = run.events()
    (row,) = epoch_rows(log)
    assert row == {"epoch": 1, "train_loss": 0.75, "validation_loss": 0.25, "validation_map": 0.75}
    assert [set(part) for part in step_rows(log)] == [{"epoch", "train_loss"}] * 2
    assert log[0]["counted"] == "exact" and log[-1]["exact"] == 0.5 and log[-2]["map11"] == 0.75
