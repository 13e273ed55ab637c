"""Overrides at dotted keys, from Python and from the words of a command line."""

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
from imclass.data.augment.pca_colour import PcaColour
from imclass.training.averages.ema import ExponentialAverage
from imclass.training.averages.polyak import Polyak
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


def with_changes(**changes: Any) -> Training:
    """Return a config of two stages with changes at keys in which "__" stands for the dot."""
    return override(TWO_STAGES, {key.replace("__", "."): value for key, value in changes.items()}, KINDS)


def test_a_short_key_applies_to_every_stage_and_a_full_one_to_one() -> None:
    assert [s.descent[1].rate for s in with_changes(schedule__rate=0.5).stages] == [0.5, 0.5]
    assert [s.descent[1].rate for s in with_changes(stages__1__schedule__rate=0.5).stages] == [0.1, 0.5]
    assert [s.epochs for s in with_changes(epochs=7, seed=3).stages] == [7, 7] and with_changes(seed=3).seed == 3
    assert with_changes(model__row__widths=(2, 3)).model.row == {"widths": (2, 3)}
    assert override(Execution(), {"workers": 5}) == Execution(workers=5)


def test_a_new_kind_starts_from_its_defaults() -> None:
    assert with_changes(optimiser__kind="adam", stages__0__optimiser__eps=1.0).stages[0].optimiser == Adam(eps=1.0)
    found = with_changes(schedule__steps=(5,), schedule__kind="step")
    assert [s.schedule for s in found.stages] == [StepDecay(steps=(5,)), StepDecay(steps=(5,))]
    assert with_changes(schedule__rate=0.5, schedule__kind="cosine").stages[0].schedule == Cosine(rate=0.5)  # as it was
    assert with_changes(optimiser=Adam(), schedule={"kind": "cosine"}).stages[1].optimiser == Adam()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", 1.5, "--epochs is 1.5; it must be a whole number"),
        ("epochs", "1", "--epochs is '1'; it must be a whole number"),
        ("epochs", 0, "--stages.0.epochs is 0; it must be at least 1"),
        ("epocs", 1, "Training has no field 'epocs'; did you mean 'epochs'?"),
        ("optimiser", {"name": "adam"}, "--optimiser lacks the field 'kind'; choose one of: adam, sgd"),
        ("model", "resnet-18", "--model is 'resnet-18'; it must be an object with the fields of Model"),
        (
            "schedule.steps",
            (5,),
            "--schedule.steps belongs to the schedule kind step, but the schedule of this run is cosine",
        ),
        ("schedule.kind", "cosin", "no schedule is named 'cosin'; did you mean 'cosine'?"),
        (
            "schedule.kind",
            "discrete-exponential",
            "stages.0.schedule lacks the field 'every'; set stages.0.schedule.every",
        ),
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
        (
            "augment.flip",
            1,
            "--augment.flip does not accept a value; set one of its fields: --augment.flip.probability",
        ),
        ("augment.flip.pixels", 1, "--augment.flip.pixels belongs to the augmentation kind pad"),
        ("augment.flip.chance", 1, "Flip has no field 'augment.flip.chance'"),
        ("augment.flop.probability", 1, "no augmentation is named 'flop'; did you mean 'flip'?"),
        ("augment", Words(("flop",)), "no augmentation is named 'flop'; did you mean 'flip'?"),
        ("augment", Words(("none", "flip")), "--augment is 'none flip'; 'none' cannot be combined"),
        ("rates", Words(("*:0",)), "--rates does not accept a value; set one by name: --rates.NAME VALUE"),
        (
            "schedule",
            Words(("step",)),
            "--schedule does not accept a value; set one of its fields: --schedule.kind",
        ),
        ("optimiser", Words(("adam",)), "--optimiser does not accept a value; set one of its fields: --optimiser.kind"),
        ("split", Words(("0.3",)), "--split does not accept a value; set one of its fields: --split.kind"),
        (
            "stages",
            Words(("2",)),
            "--stages does not accept a value; set one of its fields: --stages.0.name",
        ),
        ("preprocess", Words(()), "--preprocess does not accept a value; set one of its fields: --preprocess.size"),
        ("rates", 3, "--rates is 3; it must be a mapping in which each value is a finite number"),
        ("augment", Words(()), "--augment needs a value: kinds in order, or none. The kinds are: area, "),
        ("augment", Flip(), "--augment is {'kind': 'flip', 'probability': 0.5}; it must be a list of values"),
        ("stages.0.augment.1.probability", 1, "there is no 'stages.0.augment.1.probability'; the number may be 0 to 0"),
        ("nonfinite", Words(("go",)), "--nonfinite is 'go'; it must be one of 'stop', 'skip'"),
        ("model.mean_image", Words(("perhaps",)), "--model.mean-image is 'perhaps'; it must be true or false"),
    ],
)
def test_an_invalid_override_is_refused_by_its_key(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        override(TWO_STAGES, {key: value}, KINDS)
    assert str(caught.value).startswith(message)


def test_words_and_numpy_numbers_become_the_type_of_the_field() -> None:
    assert with_changes(epochs=np.int64(3)).stages[0].epochs == 3 and type(with_changes(seed=np.int64(3)).seed) is int
    typed = with_changes(epochs=Words(("3",)), schedule__rate=Words(("1e-3",)), augment__area__area=Words((".5", "1")))
    shifted = with_changes(augment__pca_colour__deviation=Words((".2",)))  # as typed, with an underscore for the hyphen
    assert shifted.stages[0].augment == (Flip(probability=0.25), PcaColour(0.2))
    assert (typed.stages[0].epochs, typed.stages[0].descent[1].rate) == (3, 1e-3)
    assert typed.stages[0].augment == (Flip(probability=0.25), Area(area=(0.5, 1.0)))
    assert with_changes(model__mean_image=Words(())).model.mean_image
    assert with_changes(model__mean=Words(("1",))).model.mean == (1,)


def test_patterns_keep_their_order_and_their_spelling() -> None:
    changes = {"rates.features.a-b.c_d": Words(("0.5",)), "rates.*": 0, "epochs": 2, "rates.head.*": Words(("1",))}
    found = override(TWO_STAGES, changes | {"stages.1.rates.*": 3.0}, KINDS)
    assert [*found.stages[0].rates.items()] == [("features.a-b.c_d", 0.5), ("*", 0.0), ("head.*", 1.0)]
    assert [*found.stages[1].rates.items()] == [("features.a-b.c_d", 0.5), ("head.*", 1.0), ("*", 3.0)]  # set again
    whole = override(found, {"rates": {"b": 1.0}, "rates.a": 2.0}, KINDS)
    assert [*whole.stages[0].rates.items()] == [("b", 1.0), ("a", 2.0)]


def test_an_optional_field_starts_from_its_defaults() -> None:
    found = with_changes(stages__1__model__network="vgg-d", stages__1__preprocess__size=96)
    assert found.stages[1].model == Model("vgg-d") and found.stages[1].preprocess == Preprocess(size=96)
    assert found.stages[0].model is None and found.stages[0].preprocess is None


def augments(**changes: Any) -> list[tuple[Any, ...]]:
    """Return the augmentations of both stages after changes."""
    return [stage.augment for stage in with_changes(**changes).stages]


def test_a_field_of_a_kind_is_set_in_all_its_entries_or_in_a_new_one() -> None:
    flip = Flip(probability=0.25)
    assert augments(augment__flip__probability=0.75) == [(Flip(probability=0.75),)] * 2
    assert augments(augment__pad__pixels=3) == [(flip, Pad(pixels=3))] * 2
    assert augments(augment__pad=Words(())) == [(flip, Pad())] * 2
    assert augments(stages__1__augment__pad__pixels=3) == [(flip,), (flip, Pad(pixels=3))]
    assert augments(stages__0__augment__0__probability=0.5) == [(Flip(),), (flip,)]
    assert augments(augment=("pad", "pad"), augment__pad__pixels=2) == [(Pad(pixels=2), Pad(pixels=2))] * 2
    assert augments(augment=("pad", "pad"), augment__1__pixels=2) == [(Pad(), Pad(pixels=2))] * 2


def test_a_list_of_kinds_replaces_the_list_and_keeps_the_fields_of_kinds_in_both() -> None:
    flip = Flip(probability=0.25)
    for value in (("pad", "flip"), ["pad", "flip"], Words(("pad", "flip"))):
        assert augments(augment=value) == [(Pad(), flip)] * 2
    assert augments(augment=Words(("flip", "flip"))) == [(flip, Flip())] * 2
    assert augments(augment=Words(("none",))) == augments(augment="none") == augments(augment=()) == [(), ()]
    assert augments(augment="flip") == [(flip,)] * 2
    assert augments(augment=(Area(), Pad())) == [(Area(), Pad())] * 2
    assert augments(augment=[{"kind": "pad", "pixels": 1}]) == [(Pad(pixels=1),)] * 2
    assert augments(stages__0__augment="none") == [(), (flip,)]
    # The list is set first, in any order of the changes.
    assert augments(augment__pad__pixels=3, stages__0__augment="area") == [
        (Area(), Pad(pixels=3)),
        (flip, Pad(pixels=3)),
    ]
    assert augments(augment__pad__pixels=3, augment="pad") == [(Pad(pixels=3),)] * 2


def test_the_kind_none_removes_an_optional_field() -> None:
    averaged = with_changes(average__kind="polyak")
    assert [stage.average for stage in averaged.stages] == [Polyak(), Polyak()]
    spellings: tuple[dict[str, Any], ...] = (
        {"average.kind": Words(("none",))},
        {"average.kind": "none"},
        {"average": None},
    )
    for changes in spellings:
        assert override(averaged, changes, KINDS) == TWO_STAGES == override(TWO_STAGES, changes, KINDS)
    changes = {"stages.1.average.kind": "ema", "average.kind": "none"}
    assert [s.average for s in override(averaged, changes, KINDS).stages] == [None, ExponentialAverage()]
    for changes, message in (
        ({"optimiser.kind": "none"}, "--stages.0.optimiser is absent; it must be set in a stage of kind descend"),
        ({"objective.kind": "none"}, "no objective is named 'none'"),
        ({"average.kind": "none", "average.start": 0.5}, "--average.start needs --average.kind as well"),
        ({"average.kind": Words(("none", "ema"))}, "--average.kind is 'none ema'"),
    ):
        with pytest.raises(UserError, match=f"^{message}"):
            override(averaged, changes, KINDS)
