"""Checks that a run's objectives, and its mixing of images, suit the labels of its data."""

import re
from collections.abc import Collection
from dataclasses import replace

from imclass.core.config import BinaryCrossEntropy, CrossEntropy, Objective, Stage, Training
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.data.augment.mixing import is_mix_kind


def settle_objectives(config: Training, train: Dataset, given: Collection[str]) -> tuple[Training, tuple[str, ...]]:
    """Return the config with the cross-entropy that matches the images' labels, and notes about the changes.

    If images may have several labels, a recipe's softmax cross-entropy is replaced by binary cross-entropy, and vice
    versa, and a recipe's mixing of images is left out. Raise `UserError` for any other unsuitable objective, for an
    unsuitable cross-entropy that the user chose, and for such mixing if the user chose it.
    """
    stages, notes, link = list(config.stages), dict[str, None](), train.targets.link
    plain: dict[str, Objective] = {"softmax": CrossEntropy(), "sigmoid": BinaryCrossEntropy()}
    labels = "may have several labels" if link == "sigmoid" else "have one label each"
    for i, stage in enumerate(config.stages):
        if link == "sigmoid" and (mixers := [rule.kind for rule in stage.augment if is_mix_kind(rule)]):
            stage = without_mixing(stage, config.data, is_given("augment", i, given))
            notes[f"the images of {config.data} {labels}, so {mixers[0]} is left out"] = None
        if stage.objective.link != link:
            recipes = type(stage.objective) in (CrossEntropy, BinaryCrossEntropy)
            if is_given("objective", i, given) or not recipes:
                problem = f"--objective.kind {stage.objective.kind} does not suit the images of {config.data}"
                raise UserError(f"{problem}, which {labels}; use --objective.kind {plain[link].kind}")
            stage = replace(stage, objective=plain[link])
            notes[f"the images of {config.data} {labels}, so {plain[link].kind} is minimised"] = None
        stages[i] = stage
    return replace(config, stages=tuple(stages)), tuple(notes)


def without_mixing(stage: Stage, data: str, chosen: bool) -> Stage:
    """Return a stage without the augmentations that mix images. Raise `UserError` if the user chose them."""
    others = tuple(rule for rule in stage.augment if not is_mix_kind(rule))
    if chosen:
        mixer = next(rule.kind for rule in stage.augment if is_mix_kind(rule))
        fix = f"--augment {' '.join(rule.kind for rule in others) or 'none'}"
        problem = f"--augment {mixer} mixes images with one label each, but the images of {data} may have several"
        raise UserError(f"{problem}; leave it out: {fix}")
    return replace(stage, augment=others)


def is_given(field: str, stage: int, given: Collection[str]) -> bool:
    """Return whether the user set a field of a stage, or anything inside the field."""
    key = re.compile(rf"stages|(stages\.{stage}\.)?{field}(\..+)?")
    return any(key.fullmatch(name) for name in given)
