"""A leg over images in memory, without a run around it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from imclass.core.config import Execution, Model, Stage, Training
from imclass.core.contracts import Dataset, Origin
from imclass.core.model_file import Provenance
from imclass.core.preprocess import Preprocess
from imclass.core.runtime import Runtime
from imclass.core.targets import OneOf
from imclass.data.arrays import ArrayDataset
from imclass.store.context import open_context
from imclass.training.optimisers.sgd import SGD
from imclass.training.plan import Leg, Splits, plan
from imclass.training.schedules.constant import Constant
from imclass.training.state import State


def noise(count: int, side: int, channels: int = 3, classes: int = 4) -> ArrayDataset:
    """Return noisy images whose brightness depends on their class."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, count)
    pixels = generator.integers(0, 120, (count, side, side, channels)) + 30 * labels[:, None, None, None]
    names = tuple(f"class {k}" for k in range(classes))
    origin = Origin("noise", "nowhere", "published")
    return ArrayDataset(pixels.astype(np.uint8), OneOf(labels), names, ("train",), "train", origin)


def legs_of(data: Dataset, stages: tuple[Stage, ...], model: Model, preprocess: Preprocess) -> tuple[Leg, ...]:
    """Return the legs of a run on a data set with nothing held out."""
    config = Training("test", model, stages, preprocess, "noise")

    def nothing(*_: Any) -> Any:
        raise AssertionError("there is nothing to score")

    return plan(config, Splits(data, ()), Provenance(), Execution(workers=0), open_context(), nothing)


def leg_of(data: Dataset, model: Model, side: int, colour: Any = "rgb", **changes: Any) -> Leg:
    """Return a single leg of stochastic gradient descent."""
    settings: Mapping[str, Any] = {
        "batch": 8,
        "optimiser": SGD(momentum=0.9, weight_decay=1e-3),
        "schedule": Constant(rate=0.02),
        **changes,
    }
    return legs_of(data, (Stage(**settings),), model, Preprocess(side, colour, "squash"))[0]


def enter_leg(leg: Leg) -> State:
    """Return the state at the beginning of a leg."""
    state = State(Runtime())
    state.enter(leg)
    return state
