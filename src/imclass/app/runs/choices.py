"""Warnings about choices that tend to give poor results."""
# Tested in tests/app/runs/test_material.py

from collections.abc import Iterator, Sequence

import numpy as np

from imclass.core.config import Training
from imclass.core.contracts import Dataset
from imclass.core.targets import OneOf
from imclass.data.balance import imbalance
from imclass.training.plan import Leg

# If a run begins from random weights and has fewer training images than this, a warning is printed. For example, with
# a few hundred photos of five classes, the network of the recipe `folder` is right only about half the time.
FEW_IMAGES = 1_000
VERY_UNEVEN = 5.0  # a note is printed if the largest class has at least this many times the images of the smallest


def choice_warnings(config: Training, legs: Sequence[Leg]) -> Iterator[str]:
    """Yield warnings about choices that tend to give poor results, and notes about the balance of the classes."""
    yield from balance_notes(config, legs[0].loader.dataset)
    for leg in legs:
        if leg.stage.schedule is None:
            continue
        yield from average_notes(leg)
        steps, warmup = leg.steps, leg.stage.schedule.warmup_of(leg.steps)
        if 3 * warmup > steps:
            yield (
                f"the warm-up takes {warmup:,} of {steps:,} steps, which leaves the learning rate little time to fall; "
                f"--schedule.warmup {steps // 10} would take a tenth of the steps"
            )
    images = len(legs[0].loader.dataset)
    if images < FEW_IMAGES and not config.init:
        yield (
            f"{images:,} training images are few for a network with random weights. Start from trained weights with "
            "--init googlenet:bvlc, other weights from `imclass weights`, or one of your models"
        )


def average_notes(leg: Leg) -> Iterator[str]:
    """Yield notes if the average of a leg's weights begins after the first epoch, or possibly never."""
    average = leg.stage.average
    if average is None:
        return
    epochs = range(1, leg.stage.epochs + 1)
    begun = (n for n in epochs if average.weight_after(n * leg.batches, leg.steps, leg.batches) > 0)
    before = next(begun, leg.stage.epochs + 1) - 1  # epochs without an average
    if before:
        yield (
            f"the {average.kind} average begins in epoch {before + 1:,} of {leg.stage.epochs:,}; the scores of earlier "
            "epochs are those of the weights without an average"
        )
    if 0 < leg.stage.patience <= before:
        yield (
            f"--patience {leg.stage.patience} may end the stage before the {average.kind} average begins; raise it, or "
            "let the average begin earlier with --average.start"
        )


def balance_notes(config: Training, train: Dataset) -> Iterator[str]:
    """Yield notes about classes of very different sizes, and about a solver in a run with a balanced sampler."""
    counts = train.targets.counts(len(train.classes))
    if config.balance == "none" and isinstance(train.targets, OneOf) and imbalance(counts) >= VERY_UNEVEN:
        large, small = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max()).argmin())
        yield (
            f"{train.classes[large]!r} has {counts[large]:,} training images, and {train.classes[small]!r} only "
            f"{counts[small]:,}; with --balance weights, both count equally"
        )
    if config.balance == "sampler":
        for stage in config.stages:
            if stage.kind == "solve":
                yield f"the solver of stage {stage.name} uses each image once, so it weights classes instead"
