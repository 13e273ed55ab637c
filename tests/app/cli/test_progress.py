"""Progress in lines that fit the terminal: means, rates and the time left."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from imclass.app.cli import progress
from imclass.app.cli.progress import EpochSums, EvaluationProgress, TrainingProgress
from imclass.training.events import EpochEnd, EpochStart, Evaluated, LegEnd, Saved, StepEnd
from tests.support.events import at, evaluation, events, multilabel_evaluation


def test_the_screen_tells_it_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    screen = TrainingProgress(total_steps=2, done_steps=0)
    for event in [*events(), *events()[1:4]]:
        screen.see(event)
    screen.close()
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0] == "left out: a\\n.png: the file has 0 bytes (empty)"
    assert shown.err.count("left out") == 1  # once per file
    assert "step 2: the loss is not finite; images: a.png" in lines
    (epoch,) = [line for line in lines if line.startswith("epoch")]
    assert epoch.startswith("epoch 1/1  loss 0.7500  top-1 50.00%  test 50.00%  7 images/s  waited 50%  left 0:00:0")
    assert "step 2: no checkpoint could be written (the disk is full); training continues" in lines


def test_a_disk_that_stays_full_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    screen = TrainingProgress(total_steps=4, done_steps=0)
    for step, problem in enumerate(("", "full", "full", "", ""), 1):
        screen.see(Saved(at(step, 0), Path("step"), problem))
    screen.close()
    assert capsys.readouterr().err.splitlines() == [
        "step 2: no checkpoint could be written (full); training continues",
        "step 4: checkpoints can be written again",
    ]


def test_sums_are_means_over_images() -> None:
    sums = EpochSums()
    assert "loss 0.0000" in sums.means and sums.rate == "0 images/s"  # of nothing
    for loss, correct, images in ((1.0, 1, 1), (0.25, 3, 3)):
        sums.add(StepEnd(at(1, 1), loss, loss, correct, images, 0.1, 0.25, 0.5))
    assert sums.means == f"loss {(1.0 + 3 * 0.25) / 4:.4f}  top-1 100.00%"
    assert (sums.rate, sums.waiting) == ("4 images/s", "waited 50%")


def test_the_loss_of_auxiliary_heads_is_printed_separately() -> None:
    sums = EpochSums()
    for auxiliary, images in ((0.5, 1), (0.1, 3)):
        sums.add(StepEnd(at(1, 1), 1.0, 1.0 + auxiliary, 1, images, 0.1, 0.0, 0.5))
    assert sums.means == "loss 1.0000 (+ 0.2000 auxiliary)  top-1 50.00%"


@pytest.mark.parametrize(
    ("columns", "more"), [(80, ()), (90, ("images/s",)), (100, ("images/s", "waited")), (120, ("images/s", "waited"))]
)
def test_lines_fit_the_terminal(columns: int, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COLUMNS": str(columns), "FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    screen = TrainingProgress(total_steps=900, done_steps=0)
    screen.see(EpochStart(at(0, 0, 9), epochs=30, batches=30))
    screen.see(StepEnd(at(300, 30, 9), 0.12, 0.12, 7711, 8000, 0.1, 0.09, 0.9))
    screen.see(Evaluated(at(300, 30, 9), evaluation(0.9705), "test"))
    line = screen.epoch_line(EpochEnd(at(300, 30, 9), 0.12, {"top1": 7711 / 8000}, 8000, 0, 0.12))
    bar_text = screen.bar_text(9)
    screen.close()
    assert len(line) <= columns and line.startswith("epoch 10/30  loss 0.1200  top-1 96.39%  test 97.05%")
    assert all((word in line) == (word in more) for word in ("images/s", "waited"))
    assert ("images/s" in bar_text) == (columns >= 110)
    assert len(bar_text) + len("100% 0:00:20 ") + 20 + 1 <= columns  # the bar and its time fit too


@pytest.mark.parametrize("steps", [1, 0])
def test_an_interrupted_epoch_is_printed_in_full(steps: int) -> None:
    """Check that the means are those of the log, not those of the steps since the run resumed."""
    screen = TrainingProgress(total_steps=40, done_steps=4 - steps)
    screen.see(EpochStart(at(4 - steps, 4 - steps), epochs=10, batches=4))
    if steps:
        screen.see(StepEnd(at(4, 4), 9.0, 9.0, 0, 4, 0.1, 0.0, 0.5))
    screen.see(Evaluated(at(4, 4), evaluation(0.5), "test"))
    line = screen.epoch_line(EpochEnd(at(4, 4), 0.75, {"top1": 0.625}, 16, 0, 0.75))
    screen.close()
    assert line.startswith("epoch  1/10  loss 0.7500  top-1 62.50%  test 50.00%")
    assert ("images/s" in line) == ("left" in line) == bool(steps)  # the pace is unknown without a step


def test_time_left_follows_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = TrainingProgress(total_steps=110, done_steps=10)
    monkeypatch.setattr("time.monotonic", lambda: screen.began + 200)
    assert screen.time_left(20) == "0:30:00"  # 10 steps in 200 s, 90 to go
    screen.close()


class Live(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_counts_are_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, live = io.StringIO(), Live()
    for stream, terminal in ((plain, False), (live, True)):
        wide = Console(file=stream, width=100, force_terminal=terminal, emoji=False)
        monkeypatch.setattr(progress, "Console", lambda console=wide, **options: console)
        with EvaluationProgress() as watcher:
            watcher.note("a\n:cat: is small")
            watcher.begin("split test")
            for split in ("validation", "test"):
                watcher.count(split, 256, 1000)
                watcher.count(split, 1000, 1000)
    assert plain.getvalue() == "note: a\\n:cat: is small\nevaluating split test\n"
    assert "test: 1,000 of 1,000, " in live.getvalue() and "validation: 1,000 of" in live.getvalue()
    assert "images/s" in live.getvalue() and "100%" in live.getvalue()


def test_multilabel_training_prints_other_measures(capsys: pytest.CaptureFixture[str]) -> None:
    screen = TrainingProgress(2, 0)
    screen.see(EpochStart(at(0, 0), 1, 1, "exact"))
    screen.see(StepEnd(at(1, 1), 0.75, 0.75, 2, 8, 0.1, 0.0, 0.5))
    assert "all labels right 25.00%" in screen.bar_text(0)
    screen.see(Evaluated(at(1, 1), multilabel_evaluation(0.625), "validation", best=True))
    screen.see(EpochEnd(at(1, 1), 0.75, {"exact": 0.25}, 8, 0, 0.75))
    scores = {"test": {"map": 0.5, "exact": 0.25, "loss": 1.0}}
    screen.see(LegEnd(at(1, 1), "vgg-11", Path("run/legs/01-vgg-11/model.safetensors"), "last step", scores))
    screen.close()
    shown = capsys.readouterr().err
    assert "loss 0.7500  all labels right 25.00%  validation mAP 62.50% (best)" in shown
    assert "leg vgg-11 ended: test mAP 50.00%" in shown and "top-1" not in shown
