"""Training configs: frozen values that contain every setting of a run. Recipes return them."""

from imclass.core.config.kinds import (
    Augment,
    BinaryCrossEntropy,
    CrossEntropy,
    Objective,
    Optimiser,
    Pair,
    Position,
    Schedule,
    Solver,
)
from imclass.core.config.split import Cut, Share
from imclass.core.config.stage import Model, Stage
from imclass.core.config.training import CONFIG_FORMAT, Execution, Seed, Training

__all__ = [
    "CONFIG_FORMAT",
    "Augment",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Cut",
    "Execution",
    "Model",
    "Objective",
    "Optimiser",
    "Pair",
    "Position",
    "Schedule",
    "Seed",
    "Share",
    "Solver",
    "Stage",
    "Training",
]
