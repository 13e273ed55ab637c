"""Configs refuse values that cannot be trained with, and name the key."""

import dataclasses
import math
from dataclasses import replace
from typing import Any

import pytest

from imclass.core.bounds import check_bounds
from imclass.core.codec import from_json, to_json
from imclass.core.config import SPLIT_KINDS, Count, Execution, Fold, Model, Share, Stage, Training
from imclass.core.errors import UserError, require
from imclass.core.override import override
from imclass.core.preprocess import Preprocess
from imclass.data.augment.area import Area
from imclass.data.augment.flip import Flip
from imclass.data.augment.mixup import Mixup
from imclass.data.augment.pad import Pad
from imclass.training.kinds import kind_tables
from imclass.training.optimisers.adam import Adam
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.cosine import Cosine
from imclass.training.schedules.step import StepDecay

STAGE = Stage(optimiser=SGD(), schedule=Cosine(), augment=(Flip(), Pad(), Area()))
ADAM = Stage(optimiser=Adam(), schedule=StepDecay(steps=(5,)))
CONFIG = Training("mnist-lenet", Model("lenet-5"), (STAGE,), Preprocess(size=28, colour="grey", scale=28), "mnist")
TWO_STAGES = replace(CONFIG, stages=(STAGE, ADAM))

REFUSED: list[tuple[str, Any]] = [
    ("stages.0.epochs", 0),
    ("stages.0.batch", 0),
    ("stages.0.micro_batches", 0),
    ("stages.0.micro_batches", 129),
    ("stages.0.optimiser.momentum", 1.0),
    ("stages.0.optimiser.momentum", -0.1),
    ("stages.0.optimiser.momentum", math.nan),
    ("stages.1.optimiser.betas", (0.9, 1.0)),
    ("stages.1.optimiser.eps", 0.0),
    ("stages.0.optimiser.weight_decay", -1e-4),
    ("stages.0.optimiser.weight_decay", math.inf),
    ("stages.0.schedule.rate", 0.0),
    ("stages.0.schedule.rate", math.inf),
    ("stages.0.schedule.rate", math.nan),
    ("stages.0.schedule.final", 1.5),
    ("stages.0.schedule.warmup", -1),
    ("stages.1.schedule.factor", 1.0),
    ("stages.1.schedule.steps", (-1, 5)),
    ("stages.0.epochs", 1.5),
    ("stages.0.epochs", True),
    ("stages.0.batch", "8"),
    ("nonfinite", "go"),
    ("stages.0.augment", Flip()),
    ("stages.0.augment", (Cosine(),)),
    ("stages.0.augment", ("flip",)),
    ("stages.0.augment.0.probability", 1.5),
    ("stages.0.augment.1.pixels", -1),
    ("stages.0.augment.2.area", (0.0, 1.0)),
    ("stages.0.augment.2.area", (0.5, 0.4)),
    ("stages.0.augment.2.area", (0.5, 1.1)),
    ("stages.0.augment.2.aspect", (0.0, 1.0)),
    ("stages.0.augment.2.aspect", (2.0, 1.0)),
    ("stages", ()),
    ("seed", -1),
    ("seed", 2**63),
    ("split_seed", -1),
    ("split.test", 0.0),
    ("split.test", 1.0),
    ("model.mean", ()),
    ("model.mean", (0.5, 0.5)),
    ("model.std", (1.0, 1.0)),
    ("model.std", (0.0,)),
    ("model.std", (58.4,)),
    ("model.mean", (123.7,)),
    ("model.mean", (-0.1,)),
    ("model.mean", (math.nan,)),
    ("model.std", (math.nan,)),
]


def with_value(value: Any, keys: list[str], new: Any) -> Any:
    """Copy nested dataclasses and tuples with one leaf replaced, without running any checks."""
    if not keys:
        return new
    first, rest = keys[0], keys[1:]
    if isinstance(value, tuple):
        return tuple(with_value(v, rest, new) if i == int(first) else v for i, v in enumerate(value))
    copy = object.__new__(type(value))
    for f in dataclasses.fields(value):
        old = getattr(value, f.name)
        object.__setattr__(copy, f.name, with_value(old, rest, new) if f.name == first else old)
    return copy


@pytest.mark.parametrize(("key", "value"), REFUSED)
def test_an_invalid_value_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(UserError) as caught:
        check_bounds(with_value(TWO_STAGES, key.split("."), value))
    for number, kind in enumerate(("flip", "pad", "area")):  # messages name an entry of a list of kinds by its kind
        key = key.replace(f"augment.{number}.", f"augment.{kind}.")
    assert str(caught.value).startswith(f"--{key.replace('_', '-')} is ") and "; it must be " in str(caught.value)


def test_the_same_config_without_the_mistake_is_accepted() -> None:
    check_bounds(TWO_STAGES)
    check_bounds(with_value(TWO_STAGES, ["stages", "0", "augment", "2", "area"], (0.08, 1.0)))


def test_an_invalid_config_cannot_be_constructed() -> None:
    with pytest.raises(UserError, match=r"--epochs is 0"):
        replace(CONFIG, stages=(replace(STAGE, epochs=0),))


@pytest.mark.parametrize(("key", "value"), [("workers", -1), ("memory", -1), ("keep", 1), ("save_every", -1)])
def test_an_invalid_execution_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"^--{key.replace('_', '-')} is {value}; it must be "):
        replace(Execution(), **{key: value})
    good: Any = {key: 2}
    Execution(**good)


def test_require_raises_unless_its_condition_holds() -> None:
    require(True, "epochs", 1, "at least 1")
    with pytest.raises(UserError, match=r"^--epochs is 0; it must be at least 1$"):
        require(False, "epochs", 0, "at least 1")


def test_mixing_needs_two_images_in_each_part_of_a_batch() -> None:
    mixing = replace(STAGE, augment=(Flip(), Mixup()), batch=2)
    for batch, parts, least in ((1, 1, 2), (7, 4, 8)):
        with pytest.raises(UserError) as caught:
            replace(CONFIG, stages=(replace(mixing, batch=batch, micro_batches=parts),))
        assert str(caught.value) == (
            f"--batch is {batch}; it must be at least {least}, twice --micro-batches, because mixup mixes images of "
            "the same part; or leave mixup out of --augment"
        )
    replace(CONFIG, stages=(mixing,))


def test_a_split_rule_is_chosen_by_its_kind() -> None:
    fold = override(CONFIG, {"split.kind": "fold", "split.folds": 3, "split.number": 2}, kind_tables())
    assert fold.split == Fold(3, 2) and fold.cut.rule.text(4) == "fold 2/3, seed 4"
    assert override(fold, {"split.kind": "share"}, kind_tables()) == CONFIG
    assert from_json(type(fold.cut), to_json(fold.cut), "", SPLIT_KINDS) == fold.cut
    assert override(CONFIG, {"split.kind": "fold"}, kind_tables()).split == Fold(5, 1)
    assert Share(0.3).text(1) == "hash 70/30, seed 1"
    with pytest.raises(UserError, match=r"--split\.folds belongs to the split kind fold"):
        override(CONFIG, {"split.folds": 2}, kind_tables())
    with pytest.raises(UserError, match=r"--split\.number belongs to the split kinds? "):
        override(CONFIG, {"split.number": 2}, kind_tables())
    count = override(CONFIG, {"split.kind": "count", "split.train": 15, "split.test": 0}, kind_tables())
    assert count.split == Count(15, 0, 1) and Count() == Count(30, 50)


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        (Fold(3, 4), "--split.number is 4; it must be at most the number of folds, 3"),
        (Fold(3, 0), "--split.number is 0; it must be at least 1"),
        (Fold(1, 1), "--split.folds is 1; it must be at least 2"),
        (Count(0), "--split.train is 0; it must be at least 1"),
        (Count(5, -1), "--split.test is -1; it must be at least 0"),
    ],
)
def test_a_division_that_does_not_exist_is_refused(fold: Fold | Count, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(CONFIG, split=fold)
