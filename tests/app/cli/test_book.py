"""`--style book` and `book-2016` print the lines of the PaddlePaddle book, character by character."""

import contextlib
import io
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imclass.app.cli.book import BookLog, BookLog2016
from imclass.app.cli.main import main
from imclass.core.contracts import Evaluation, Refused
from imclass.core.targets import OneOf
from imclass.training.events import EpochEnd, EpochStart, Evaluated, NonFinite, RunPosition, Saved, StepEnd
from tests.support.events import multilabel_evaluation
from tests.support.small import tree

STEPS, BATCH, IMAGES = 391, 128, 50_000  # in a pass of the book over CIFAR-10
LINE = re.compile(r"\nPass (\d+), Batch (\d+), Cost (\d+\.\d{6}), Acc ([01]\.\d{6})(\.*)")


def step_event(number: int, epoch: int = 0, correct: int = 21, **more: object) -> StepEnd:
    images = min(BATCH, IMAGES - BATCH * number)
    at = RunPosition(0, epoch, number + 1, epoch * STEPS + number + 1, BATCH * number + images)
    return StepEnd(at, 3.869598, 3.869598, correct, images, 0.1, 0.0, 0.1, **more)  # type: ignore[arg-type]


def scored_event(
    epoch: int, loss: float, top1: float, split: str = "test", refused: tuple[Refused, ...] = ()
) -> Evaluated:
    nothing = np.zeros(0, np.int64)
    result = Evaluation(
        ("a", "b"), OneOf(nothing), np.zeros((0, 2), np.float32), nothing, 0, refused, {"loss": loss, "top1": top1}
    )
    return Evaluated(RunPosition(0, epoch, STEPS), result, split)


def book_text(*events: object, log: type[BookLog] = BookLog, period: int = 100) -> str:
    with contextlib.redirect_stderr(io.StringIO()) as stream:
        book = log(period)
        for event in events:
            book.see(event)  # type: ignore[arg-type]
        book.close()
    return stream.getvalue()


def test_a_pass_of_391_steps_prints_four_lines_and_dots() -> None:
    out = book_text(*(step_event(n) for n in range(STEPS)))
    lines = LINE.findall(out)
    assert [int(line[0]) for line in lines] == [0, 100, 200, 300]
    assert [len(line[4]) for line in lines] == [99, 99, 99, 90]
    assert LINE.sub("", out) == "\n"  # and nothing else


def test_the_published_lines() -> None:
    assert book_text(step_event(0)) == "\nPass 0, Batch 0, Cost 3.869598, Acc 0.164062\n"  # 21 of 128
    assert book_text(step_event(100, correct=59)).startswith("\nPass 100, Batch 0, Cost 3.869598, Acc 0.460938")
    assert book_text(step_event(200, 7, correct=67)).startswith("\nPass 200, Batch 7, Cost 3.869598, Acc 0.523438")
    assert book_text(scored_event(0, 1.0843, 0.6185)) == "\nTest with Pass 0, Loss 1.1, Acc 0.62\n"
    assert book_text(scored_event(0, 1.0843, 0.6)) == "\nTest with Pass 0, Loss 1.1, Acc 0.6\n"
    assert book_text(scored_event(3, 0.5, 0.9, "validation")) == "\nValidation with Pass 3, Loss 0.5, Acc 0.9\n"


def test_the_log_period_is_the_number_of_steps_of_a_line() -> None:
    lines = LINE.findall(book_text(*(step_event(n) for n in range(7)), period=3))
    assert [(int(line[0]), len(line[4])) for line in lines] == [(0, 2), (3, 2), (6, 0)]
    out = book_text(*(step_event(n) for n in range(7)), log=BookLog2016, period=3)
    assert re.findall(r"(\.*)\n.*  Batch=(\d+) ", out) == [("..", "3"), ("..", "6")] and out.endswith("\n.\n")


def test_the_lines_of_2016_have_means_over_the_pass_and_over_the_period() -> None:
    """Compare with the published line: 300 batches of 128 are 38,400 samples, and a pass has 391 batches."""
    costs, right = np.linspace(3, 1, STEPS), np.arange(STEPS) % 80
    steps = [replace(step_event(n, correct=int(right[n])), main=costs[n]) for n in range(STEPS)]
    sizes = np.array([step.images for step in steps])
    cost, error = float(costs @ sizes) / IMAGES, 1 - float(right.sum()) / IMAGES
    done = EpochEnd(steps[-1].at, cost, {"top1": 1 - error}, IMAGES, 0, cost)
    start, scored = EpochStart(RunPosition(), 1, STEPS), scored_event(0, 1.99246, 1 - 0.7858)
    out = book_text(start, *steps, scored, done, log=BookLog2016)
    *dots, last, test = out.splitlines()
    assert dots[::2] == ["." * 99] * 3 + ["." * 91] and len(dots) == 7
    now = slice(200, 300)
    expected = f"AvgCost={costs[:300].mean():g} CurrentCost={costs[now].mean():g}"
    expected += f" Eval: classification_error_evaluator={1 - right[:300].mean() / BATCH:g} "
    expected += f" CurrentEval: classification_error_evaluator={1 - right[now].mean() / BATCH:g}"
    assert dots[5] == f"TrainerInternal.cpp:165]  Batch=300 samples=38400 {expected}"
    expected = f"AvgCost={cost:g} Eval: classification_error_evaluator={error:g}"
    assert last == f"TrainerInternal.cpp:181]  Pass=0 Batch=391 samples=50000 {expected}"
    assert test == "Tester.cpp:115]  Test samples=0 cost=1.99246 Eval: classification_error_evaluator=0.7858"


def test_an_evaluation_between_epochs_is_printed_at_once() -> None:
    after = Evaluated(RunPosition(0, 1), multilabel_evaluation(0.6185), "test")
    assert book_text(after, log=BookLog2016) == "Tester.cpp:115]  Test samples=2 cost=0.25 Eval: mAP=0.6185\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--log-period 5", "--log-period applies to --style book and book-2016; choose one, or leave it out"),
        ("--style book --log-period 0", "--log-period is 0; it must be at least 1 step"),
    ],
)
def test_a_log_period_needs_a_style_that_uses_it(
    options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "mnist-lenet", "--dry-run", *options.split()]) == 2
    assert capsys.readouterr().err == f"imclass: {message}\n"


def test_accuracy_counts_the_images_of_the_batch() -> None:
    short = step_event(STEPS - 1, correct=40)
    assert short.images == 80
    line = LINE.match(book_text(StepEnd(RunPosition(batch=1), 1.0, 1.0, short.correct, short.images, 0.1, 0.0, 0.1)))
    assert line is not None and float(line[4]) == 40 / 80
    all_refused = StepEnd(RunPosition(batch=1), math.nan, math.nan, 0, 0, 0.1, 0.0, 0.1)
    assert "Acc 0.000000" in book_text(all_refused)


def test_problems_are_printed_once_on_separate_lines() -> None:
    torn = Refused("cat/\x1b[2J.png", "truncated", "it ends early")
    at = RunPosition()
    out = book_text(
        EpochStart(at, 1, 2), step_event(0, refused=(torn,)), step_event(1, refused=(torn,)),
        scored_event(0, 1.0, 0.5, refused=(torn,)),
        EpochEnd(at, 1.0, {"top1": 0.5}, 2, 1, 1.0), Saved(at, Path("x")), Saved(at, Path("x"), "disk full"),
        NonFinite(at, "loss", ("a",), "skip"),
    )  # fmt: skip
    assert out.count("\nleft out: cat/\\x1b[2J.png: it ends early (truncated)\n") == 1
    assert "disk full" in out and "loss is not finite" in out and out.count("\n") == 9


@pytest.mark.parametrize("style", ["book", "book-2016", "bar"])
def test_train_prints_either_style(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets", per_class=10)
    words = ["--data", "pets", "--out", "run", "--batch", "4", "--epochs", "2"]
    assert main(["train", "mnist-lenet", *words, "--style", style]) == 0
    out, err = capsys.readouterr()
    tests = re.findall(r"\nTest with Pass (\d), Loss \S+, Acc \S+\n", err)
    lines = [(*line[:2], len(line[4])) for line in LINE.findall(err)]
    assert lines == ([("0", "0", 3), ("0", "1", 3)] if style == "book" else [])
    assert tests == (["0", "1"] if style == "book" else [])
    passes = re.findall(
        r"^\.{4}\nTrainerInternal\.cpp:181\]  Pass=(\d) .*\nTester\.cpp:115\]  Test samples=4 ", err, re.M
    )
    assert passes == (["0", "1"] if style == "book-2016" else [])
    assert ("epoch 2/2" in err) == (style == "bar") and out.startswith("test: top-1")


def test_multilabel_scores_are_mean_average_precisions() -> None:
    assert (
        book_text(Evaluated(RunPosition(0, 3, STEPS), multilabel_evaluation(0.6185), "test"))
        == "\nTest with Pass 3, Loss 0.25, mAP 0.62\n"
    )
