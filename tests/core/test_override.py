"""A config with other values at dotted keys: from Python, and from the words of a command line."""

from typing import Any

import numpy as np
import pytest

from imclass.core.config import Execution, Model, Stage, Training
from imclass.core.errors import UserError
from imclass.core.override import Words, override
from imclass.core.preprocess import Preprocess
from imclass.data.augment.area import Area
from imclass.data.augment.flip import Flip
from imclass.data.augment.pad import Pad
from imclass.training.kinds import kind_tables
from imclass.training.optimisers.adam import Adam
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.cosine import Cosine
from imclass.training.schedules.step import StepDecay

KINDS = kind_tables()
STAGE = Stage(optimiser=SGD(), schedule=Cosine(), augment=(Flip(probability=0.25),))
TWO_STAGES = Training(
    "mnist-lenet", Model("lenet-5"), (STAGE, STAGE), Preprocess(size=28, colour="grey", scale=28), "mnist"
)


def changed(**changes: Any) -> Training:
    """Return a config of two stages with changes at keys in which "__" stands for the dot."""
    return override(TWO_STAGES, {key.replace("__", "."): value for key, value in changes.items()}, KINDS)


def test_a_short_key_is_for_every_stage_and_a_full_one_for_its_own() -> None:
    assert [s.schedule.rate for s in changed(schedule__rate=0.5).stages] == [0.5, 0.5]
    assert [s.schedule.rate for s in changed(stages__1__schedule__rate=0.5).stages] == [0.1, 0.5]
    assert [s.epochs for s in changed(epochs=7, seed=3).stages] == [7, 7] and changed(seed=3).seed == 3
    assert changed(model__row__widths=(2, 3)).model.row == {"widths": (2, 3)}
    assert override(Execution(), {"workers": 5}) == Execution(workers=5)


def test_another_kind_begins_from_its_own_defaults() -> None:
    assert changed(optimiser__kind="adam", stages__0__optimiser__eps=1.0).stages[0].optimiser == Adam(eps=1.0)
    found = changed(schedule__steps=(5,), schedule__kind="step")
    assert [s.schedule for s in found.stages] == [StepDecay(steps=(5,)), StepDecay(steps=(5,))]
    assert changed(schedule__rate=0.5, schedule__kind="cosine").stages[0].schedule == Cosine(rate=0.5)  # as it was
    assert changed(optimiser=Adam(), schedule={"kind": "cosine"}).stages[1].optimiser == Adam()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", 1.5, "--epochs is 1.5; it must be a whole number"),
        ("epochs", "1", "--epochs is '1'; it must be a whole number"),
        ("epochs", 0, "--stages.0.epochs is 0; it must be at least 1"),
        ("epocs", 1, "Training has no field 'epocs'; did you mean 'epochs'?"),
        ("optimiser", {"name": "adam"}, "--optimiser lacks the field 'kind'; there are: adam, sgd"),
        ("model", "resnet-18", "--model is 'resnet-18'; it must be an object with the fields of Model"),
        ("schedule.steps", (5,), "--schedule.steps belongs to schedule kind step, and this run's is cosine"),
        ("schedule.kind", "cosin", "no schedule is named 'cosin'; did you mean 'cosine'?"),
        ("schedule.kind", "step", "stages.0.schedule lacks the field 'steps'; set stages.0.schedule.steps"),
        ("stages.2.epochs", 1, "there is no 'stages.2.epochs'; the number may be 0 to 1"),
        ("seed.x", 1, "seed has no field 'x'"),
        ("rates.head", "1", "--rates.head is '1'; it must be a finite number"),
        ("stages.0.rates.a-b_c", Words(("x",)), "--stages.0.rates.a-b_c is 'x'; it must be a finite number"),
        ("rates.*", float("inf"), "--rates.* is inf; it must be a finite number"),
        ("stages.0.model.mean", (0.5,), "stages.0.model lacks the field 'network'; set stages.0.model.network"),
        ("stages.0.model.widths", 1, "Model has no field 'stages.0.model.widths'"),
        ("epochs", Words(("two",)), "--epochs is 'two'; it must be a whole number"),
        ("epochs", Words(("2", "3")), "--epochs is '2 3'; it must be a whole number"),
        ("epochs", Words(()), "--epochs needs a value: a whole number"),
        ("augment.area.area", Words(("1",)), "--augment.area.area is '1'; it must be 2 numbers"),
        ("augment.area.area", (1.0, 0.5), "--stages.0.augment.area.area is 1.0 0.5; it must be a low and a high value"),
        ("augment.flip", 1, "--augment.flip itself takes no value; set one of its fields: --augment.flip.probability"),
        ("augment.flip.pixels", 1, "--augment.flip.pixels belongs to augmentation kind pad"),
        ("augment.flip.chance", 1, "Flip has no field 'augment.flip.chance'"),
        ("augment.flop.probability", 1, "no augmentation is named 'flop'; did you mean 'flip'?"),
        ("augment", Words(("flop",)), "no augmentation is named 'flop'; did you mean 'flip'?"),
        ("augment", Words(("none", "flip")), "--augment is none flip; none cannot be combined, so"),
        ("rates", Words(("*:0",)), "--rates itself takes no value; set one by name: --rates.NAME VALUE"),
        ("rates", 3, "--rates is 3; it must be names, each with a finite number"),
        ("augment", Words(()), "--augment needs a value: kinds in order, or none. The kinds are: area, flip, pad"),
        ("augment", Flip(), "--augment is {'kind': 'flip', 'probability': 0.5}; it must be any number of values"),
        ("stages.0.augment.1.probability", 1, "there is no 'stages.0.augment.1.probability'; the number may be 0 to 0"),
        ("nonfinite", Words(("go",)), "--nonfinite is 'go'; it must be one of 'stop', 'skip'"),
        ("model.mean_image", Words(("perhaps",)), "--model.mean-image is 'perhaps'; it must be true or false"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        override(TWO_STAGES, {key: value}, KINDS)
    assert str(caught.value).startswith(message)


def test_words_and_numpy_numbers_mean_what_the_field_says() -> None:
    assert changed(epochs=np.int64(3)).stages[0].epochs == 3 and type(changed(seed=np.int64(3)).seed) is int
    typed = changed(epochs=Words(("3",)), schedule__rate=Words(("1e-3",)), augment__area__area=Words((".5", "1")))
    assert (typed.stages[0].epochs, typed.stages[0].schedule.rate) == (3, 1e-3)
    assert typed.stages[0].augment == (Flip(probability=0.25), Area(area=(0.5, 1.0)))
    assert changed(model__mean_image=Words(())).model.mean_image
    assert changed(model__mean=Words(("1",))).model.mean == (1,)


def test_patterns_keep_their_order_and_their_spelling() -> None:
    changes = {"rates.features.a-b.c_d": Words(("0.5",)), "rates.*": 0, "epochs": 2, "rates.head.*": Words(("1",))}
    found = override(TWO_STAGES, changes | {"stages.1.rates.*": 3.0}, KINDS)
    assert [*found.stages[0].rates.items()] == [("features.a-b.c_d", 0.5), ("*", 0.0), ("head.*", 1.0)]
    assert [*found.stages[1].rates.items()] == [("features.a-b.c_d", 0.5), ("head.*", 1.0), ("*", 3.0)]  # set again
    whole = override(found, {"rates": {"b": 1.0}, "rates.a": 2.0}, KINDS)
    assert [*whole.stages[0].rates.items()] == [("b", 1.0), ("a", 2.0)]


def test_what_may_be_none_begins_from_its_defaults() -> None:
    found = changed(stages__1__model__network="vgg-d", stages__1__preprocess__size=96)
    assert found.stages[1].model == Model("vgg-d") and found.stages[1].preprocess == Preprocess(size=96)
    assert found.stages[0].model is None and found.stages[0].preprocess is None


def augments(**changes: Any) -> list[tuple[Any, ...]]:
    """Return the augmentations of both stages after changes."""
    return [stage.augment for stage in changed(**changes).stages]


def test_a_field_of_a_kind_is_set_wherever_the_kind_is_and_else_the_kind_is_added() -> None:
    flip = Flip(probability=0.25)
    assert augments(augment__flip__probability=0.75) == [(Flip(probability=0.75),)] * 2
    assert augments(augment__pad__pixels=3) == [(flip, Pad(pixels=3))] * 2
    assert augments(augment__pad=Words(())) == [(flip, Pad())] * 2
    assert augments(stages__1__augment__pad__pixels=3) == [(flip,), (flip, Pad(pixels=3))]
    assert augments(stages__0__augment__0__probability=0.5) == [(Flip(),), (flip,)]
    assert augments(augment=("pad", "pad"), augment__pad__pixels=2) == [(Pad(pixels=2), Pad(pixels=2))] * 2
    assert augments(augment=("pad", "pad"), augment__1__pixels=2) == [(Pad(), Pad(pixels=2))] * 2


def test_a_list_of_kinds_replaces_the_list_and_keeps_the_fields_of_those_that_stay() -> None:
    flip = Flip(probability=0.25)
    for value in (("pad", "flip"), ["pad", "flip"], Words(("pad", "flip"))):
        assert augments(augment=value) == [(Pad(), flip)] * 2
    assert augments(augment=Words(("flip", "flip"))) == [(flip, Flip())] * 2
    assert augments(augment=Words(("none",))) == augments(augment="none") == augments(augment=()) == [(), ()]
    assert augments(augment="flip") == [(flip,)] * 2
    assert augments(augment=(Area(), Pad())) == [(Area(), Pad())] * 2
    assert augments(augment=[{"kind": "pad", "pixels": 1}]) == [(Pad(pixels=1),)] * 2
    assert augments(stages__0__augment="none") == [(), (flip,)]
    # Whatever the order in which they are given, the list comes first.
    assert augments(augment__pad__pixels=3, stages__0__augment="area") == [
        (Area(), Pad(pixels=3)),
        (flip, Pad(pixels=3)),
    ]
    assert augments(augment__pad__pixels=3, augment="pad") == [(Pad(pixels=3),)] * 2
