"""Configs: frozen values that contain every setting of a run. Recipes return them."""

from typing import TypeAlias

from imclass.core.config.fitting import Fitting
from imclass.core.config.kinds import (
    AnyPart,
    Augment,
    Average,
    BinaryCrossEntropy,
    CrossEntropy,
    Objective,
    Optimiser,
    Pair,
    Position,
    Schedule,
    Solver,
    multiply_count,
)
from imclass.core.config.split import SPLIT_KINDS, Count, Cut, Division, Fold, Share, Split
from imclass.core.config.stage import Model, Stage
from imclass.core.config.training import CONFIG_FORMAT, Execution, Seed, Training

RunConfig: TypeAlias = Training | Fitting  # what a recipe returns

__all__ = [
    "CONFIG_FORMAT",
    "SPLIT_KINDS",
    "AnyPart",
    "Augment",
    "Average",
    "BinaryCrossEntropy",
    "Count",
    "CrossEntropy",
    "Cut",
    "Division",
    "Execution",
    "Fitting",
    "Fold",
    "Model",
    "Objective",
    "Optimiser",
    "Pair",
    "Position",
    "RunConfig",
    "Schedule",
    "Seed",
    "Share",
    "Solver",
    "Split",
    "Stage",
    "Training",
    "multiply_count",
]
