"""`--style book` prints the lines of the PaddlePaddle book, character by character."""

import contextlib
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest

from imclass.app.cli.book import BookLog
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


def book_text(*events: object) -> str:
    with contextlib.redirect_stderr(io.StringIO()) as stream:
        book = BookLog()
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


@pytest.mark.parametrize("style", ["book", "bar"])
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
    assert ("epoch 2/2" in err) == (style == "bar") and out.startswith("test: top-1")


def test_multilabel_scores_are_mean_average_precisions() -> None:
    assert (
        book_text(Evaluated(RunPosition(0, 3, STEPS), multilabel_evaluation(0.6185), "test"))
        == "\nTest with Pass 3, Loss 0.25, mAP 0.62\n"
    )
