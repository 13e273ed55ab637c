"""Events of every kind, as a run of two steps yields them."""

from pathlib import Path

import numpy as np

from imclass.core.contracts import Evaluation, Refused
from imclass.core.targets import AnyOf, OneOf
from imclass.training.events import (
    EpochEnd,
    EpochStart,
    Evaluated,
    Event,
    LegEnd,
    NonFinite,
    RunPosition,
    Saved,
    StepEnd,
    StepStart,
)

REFUSED = Refused("a\n.png", "empty", "the file has 0 bytes")


def evaluation(top1: float = 0.5) -> Evaluation:
    """Return the evaluation of two images, one of which was refused."""
    one = np.zeros(1, np.int64)
    return Evaluation(
        ("a", "b"),
        OneOf(one),
        np.zeros((1, 2), np.float32),
        one,
        2,
        (REFUSED,),
        {"loss": 0.25, "top1": top1, "top5": 1.0},
    )


def multilabel_evaluation(mean: float = 0.5) -> Evaluation:
    """Return the evaluation of two images that may have several labels, without scores."""
    marks, none = np.zeros((2, 2), np.int8), np.zeros((2, 2), np.float32)
    measures = {
        "loss": 0.25,
        "map": mean,
        "map_voc": mean,
        "map11": mean,
        "micro_f1": 0.5,
        "macro_f1": 0.5,
        "exact": 0.5,
    }
    return Evaluation(("a", "b"), AnyOf(marks), none, np.arange(2), 2, (), measures, "map")


def at(step: int, batch: int, epoch: int = 0) -> RunPosition:
    return RunPosition(epoch=epoch, batch=batch, step=step, samples=8 * step)


def events() -> list[Event]:
    """Return one event of each kind."""
    return [
        EpochStart(at(0, 0), epochs=1, batches=2),
        StepStart(at(0, 0), rate=0.1),
        StepEnd(
            at(1, 1), main=0.75, total=0.75, correct=3, images=7, rate=0.1, waited=0.5, seconds=1.0, refused=(REFUSED,)
        ),
        NonFinite(at(2, 2), "the loss", ("a.png",), "skip"),
        Evaluated(at(2, 2), evaluation(), "test"),
        EpochEnd(at(2, 2), main=0.75, measures={"top1": 0.5}, images=7, refused=1, total=0.75),
        Saved(at(2, 0, 1), Path("checkpoints/step-2"), "the disk is full"),
        LegEnd(RunPosition(1, 1, 0, 2), "lenet-5", Path("run/model.safetensors"), "last step", {"test": {"top1": 0.5}}),
    ]
