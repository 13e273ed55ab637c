"""The log, TensorBoard and the curves say what the events said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from imclass.app.runs.curves import Curves, history
from imclass.app.runs.directory import Run
from imclass.app.runs.log import Log, record, summary
from imclass.app.runs.progress import Screen, Sums
from imclass.app.runs.tensorboard import TensorBoard
from imclass.app.runs.train import train
from imclass.core.contracts import Evaluation, Refused
from imclass.training.events import At, Consumer, EpochEnd, EpochStart, Evaluated, Event, NonFinite, Saved, StepEnd
from tests.support.small import tree

REFUSED = Refused("a\n.png", "empty", "the file has 0 bytes")


def evaluation(top1: float = 0.5) -> Evaluation:
    """Of one image, beside one that was refused."""
    one = np.zeros(1, np.int64)
    return Evaluation(("a", "b"), one, np.zeros((1, 2), np.float32), one, 2, (REFUSED,), loss=0.25, top1=top1, top5=1.0)


def at(step: int, batch: int, epoch: int = 0) -> At:
    return At(epoch=epoch, batch=batch, step=step, samples=8 * step)


def events() -> list[Event]:
    """One of each kind."""
    return [
        EpochStart(at(0, 0), epochs=1, batches=2),
        StepEnd(at(1, 1), loss=0.75, correct=3, images=7, rate=0.1, waited=0.5, seconds=1.0, refused=(REFUSED,)),
        NonFinite(at(2, 2), "the loss", ("a.png",), "skip"),
        Evaluated(at(2, 2), evaluation(), "test"),
        EpochEnd(at(2, 2), loss=0.75, top1=0.5, images=7, refused=1),
        Saved(at(2, 0, 1), Path("checkpoints/step-2"), "the disk is full"),
    ]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def records(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.log.read_text().splitlines()]


def test_the_log_holds_a_record_an_event(run: Run) -> None:
    log = Log(run)
    for event in events():
        log.see(event)
    assert len(records(run)) == len(events())  # at once, not only when it is closed
    log.close()
    start, step, nonfinite, evaluated, end, saved = records(run)
    assert [r["event"] for r in records(run)] == [
        "epoch_start",
        "step_end",
        "non_finite",
        "evaluated",
        "epoch_end",
        "saved",
    ]
    assert step == {
        "event": "step_end", "stage": 0, "epoch": 0, "batch": 1, "step": 1, "samples": 8, "loss": 0.75, "correct": 3,
        "images": 7, "rate": 0.1, "waited": 0.5, "seconds": 1.0,
        "refused": [{"path": "a\n.png", "code": "empty", "detail": "the file has 0 bytes"}],
    }  # fmt: skip
    assert start["batches"] == 2 and nonfinite["names"] == ["a.png"] and end["top1"] == 0.5
    assert (evaluated["split"], evaluated["top1"], evaluated["loss"], evaluated["total"]) == ("test", 0.5, 0.25, 2)
    assert (saved["path"], saved["problem"]) == ("checkpoints/step-2", "the disk is full")


def test_an_epoch_that_goes_on_is_not_begun_again(run: Run) -> None:
    log = Log(run)
    log.see(EpochStart(at(1, 1), epochs=1, batches=2))
    log.close()
    assert records(run) == []


def test_a_summary_counts_every_image() -> None:
    told = summary(evaluation())
    assert told["evaluated"] + len(told["refused"]) == told["total"] == 2


def test_consumers_are_matched_by_what_they_do(run: Run) -> None:
    assert isinstance(Curves(run), Consumer)
    assert not isinstance(print, Consumer)


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads."""
    told = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    names = told.Tags()["scalars"]
    return {name: [(point.step, round(point.value, 6)) for point in told.Scalars(name)] for name in names}


def test_tensorboard_reads_the_scalars(run: Run) -> None:
    board = TensorBoard(run, At())
    for event in events():
        board.see(event)
    board.close()
    assert scalars(run) == {
        "train/loss": [(1, 0.75)], "train/rate": [(1, 0.1)], "train/top1": [(2, 0.5)],
        "test/top1": [(2, 0.5)], "test/loss": [(2, 0.25)],
    }  # fmt: skip


def test_what_was_beyond_the_checkpoint_is_purged(run: Run) -> None:
    def steps(begun: At, *losses: float) -> None:
        board = TensorBoard(run, begun)
        for i, loss in enumerate(losses):
            board.see(StepEnd(at(begun.step + i + 1, i + 1), loss, 0, 8, 0.1, 0.0, 1.0))
        board.close()

    steps(At(), 9.0, 8.0)
    steps(At(), 5.0, 4.0, 3.0)  # killed before its first checkpoint
    assert scalars(run)["train/loss"] == [(1, 5.0), (2, 4.0), (3, 3.0)]
    steps(At(step=1), 2.0)  # another machine may have come to other numbers
    assert scalars(run)["train/loss"] == [(1, 5.0), (2, 2.0)]


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


def test_the_screen_tells_it_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(total_steps=2, done_steps=0)
    for event in [*events(), *events()[1:4]]:
        screen.see(event)
    screen.close()
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0] == "left out: a\\n.png: the file has 0 bytes (empty)"
    assert shown.err.count("left out") == 1  # once a file
    assert "step 2: the loss is not finite; images: a.png" in lines
    (epoch,) = [line for line in lines if line.startswith("epoch")]
    assert epoch.startswith("epoch 1/1  loss 0.7500  top-1 42.86 %  test 50.00 %  7 images/s  waited 50 %  left 0:00:0")
    assert "step 2: no checkpoint could be written (the disk is full); training goes on" in lines


def test_sums_are_means_over_images() -> None:
    sums = Sums()
    assert "loss 0.0000" in sums.learned and sums.rate == "0 images/s"  # of nothing
    for loss, correct, images in ((1.0, 1, 1), (0.25, 3, 3)):
        sums.add(StepEnd(at(1, 1), loss, correct, images, 0.1, 0.25, 0.5))
    assert sums.learned == f"loss {(1.0 + 3 * 0.25) / 4:.4f}  top-1 100.00 %"
    assert (sums.rate, sums.waiting) == ("4 images/s", "waited 50 %")


@pytest.mark.parametrize(
    ("columns", "more"), [(80, ()), (90, ("images/s",)), (100, ("images/s", "waited")), (120, ("images/s", "waited"))]
)
def test_lines_fit_the_terminal(columns: int, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COLUMNS": str(columns), "FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    screen = Screen(total_steps=900, done_steps=0)
    screen.see(EpochStart(at(0, 0, 9), epochs=30, batches=30))
    screen.see(StepEnd(at(300, 30, 9), 0.12, 7711, 8000, 0.1, 0.09, 0.9))
    screen.see(Evaluated(at(300, 30, 9), evaluation(0.9705), "test"))
    line, beside = screen.line(at(300, 30, 9)), screen.now(9)
    screen.close()
    assert len(line) <= columns and line.startswith("epoch 10/30  loss 0.1200  top-1 96.39 %  test 97.05 %")
    assert all((word in line) == (word in more) for word in ("images/s", "waited"))
    assert ("images/s" in beside) == (columns >= 110)
    assert len(beside) + len("100 % 0:00:20 ") + 20 + 1 <= columns  # the bar and its time fit, too


def test_time_left_follows_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(total_steps=110, done_steps=10)
    monkeypatch.setattr("time.monotonic", lambda: screen.began + 200)
    assert screen.left(20) == "0:30:00"  # 10 steps in 200 s, 90 to go
    screen.close()


def test_users_may_watch_too(tmp_path: Path) -> None:
    """A consumer of one's own sees what the loop yields, and is closed."""

    class Watcher:
        def __init__(self) -> None:
            self.seen: list[Event] = []
            self.closed = False

        def see(self, event: Event) -> None:
            self.seen.append(event)

        def close(self) -> None:
            self.closed = True

    watcher, pets = Watcher(), tree(tmp_path / "pets")
    yielded = list(train("mnist-lenet", tmp_path / "run", consumers=[watcher], data=str(pets), epochs=1, batch=8))
    assert watcher.seen == yielded[:-1]  # the last is the model file
    assert watcher.closed
