"""The fit between objectives, mixing and labels. The refusals of what a user chose are in tests/test_multilabel.py."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from imclass.app.runs.objectives import is_given, settle_objectives
from imclass.core.config import BinaryCrossEntropy, CrossEntropy, Objective
from imclass.core.contracts import Dataset, Origin
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf, Targets
from imclass.data.arrays import ArrayDataset
from imclass.data.augment.cutmix import CutMix
from imclass.data.augment.flip import Flip
from imclass.data.augment.mixup import Mixup
from imclass.recipes.folder import folder


@dataclass(frozen=True)
class Hinge(Objective):
    """A loss of marks in fractions, which a plugin may add."""

    kind: ClassVar[str] = "hinge"
    link: ClassVar[Literal["softmax", "sigmoid"]] = "sigmoid"
    takes_soft: ClassVar[bool] = True

    def loss(self, scores: Any, targets: Any) -> Any: ...


def data(targets: Targets) -> Dataset:
    images = np.zeros((4, 8, 8, 3), np.uint8)
    return ArrayDataset(images, targets, ("a", "b"), ("train",), "train", Origin("pets", "pets", "published"))


SEVERAL, ONE = data(AnyOf(np.ones((4, 2), np.int8))), data(OneOf(np.zeros(4, np.int64)))


def test_a_recipe_s_smoothing_and_mixing_give_way_to_several_labels() -> None:
    recipe = folder("pets")
    stage = replace(recipe.stages[0], augment=(Flip(), Mixup(), CutMix()), objective=CrossEntropy(smoothing=0.1))
    recipe = replace(recipe, stages=(stage, replace(stage, name="again")))
    config, notes = settle_objectives(recipe, SEVERAL, ())
    assert all(s.augment == (Flip(),) and s.objective == BinaryCrossEntropy() for s in config.stages)
    assert notes == (
        "the images of pets may have several labels, so mixup is left out",
        "the images of pets may have several labels, so binary-cross-entropy is minimised",
    )
    assert settle_objectives(recipe, ONE, ()) == (recipe, ())


def test_mixing_several_labels_is_refused_even_for_an_objective_that_takes_fractions() -> None:
    recipe = folder("pets")
    stage = replace(recipe.stages[0], augment=(Mixup(),), objective=Hinge())
    recipe = replace(recipe, stages=(stage,))
    with pytest.raises(UserError, match="the images of pets may have several; leave it out: --augment none"):
        settle_objectives(recipe, SEVERAL, ("augment.mixup.alpha",))
    assert settle_objectives(recipe, SEVERAL, ())[0].stages[0].augment == ()


def test_mixing_needs_an_objective_that_takes_fractions() -> None:
    """Refuse an objective that does not declare that it takes fractions."""
    recipe, labels_only = folder("pets"), type("Labels", (Hinge,), {"takes_soft": False, "kind": "labels"})()
    stage = replace(recipe.stages[0], augment=(Mixup(),), objective=labels_only)
    with pytest.raises(UserError, match=r"--objective.kind is labels; it must be an objective that accepts mixed"):
        replace(recipe, stages=(stage,))
    replace(recipe, stages=(replace(stage, objective=Hinge()),))
    assert Objective.takes_soft is False


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("objective", True),
        ("objective.smoothing", True),
        ("stages.1.objective.kind", True),
        ("stages", True),
        ("stages.0.objective.kind", False),
        ("objectives", False),
        ("augment", False),
    ],
)
def test_what_the_user_set_is_recognised(name: str, given: bool) -> None:
    assert is_given("objective", 1, (name,)) is given
