"""Configs survive a round trip through JSON, wrong JSON is refused by its dotted key, and differences are listed."""

import dataclasses
import json
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imclass.core.codec import difference, flatten, from_json, to_json
from imclass.core.config import Model, Stage, Training
from imclass.core.errors import UserError
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
STAGE = Stage(optimiser=SGD(), schedule=Cosine())
CONFIG = Training("mnist-lenet", Model("lenet-5"), (STAGE,), Preprocess(size=28, colour="grey", scale=28), "mnist")
TWO_STAGES = replace(CONFIG, stages=(STAGE, STAGE))


shares = st.floats(0.01, 0.99)
names = st.text(max_size=8)
pairs = st.tuples(shares, shares).map(lambda two: (min(two), max(two)))
leaves = st.integers() | shares | names | st.booleans() | st.none()
rows = st.dictionaries(names, leaves | st.lists(leaves, max_size=3).map(tuple), max_size=3)
stages = st.builds(
    Stage,
    epochs=st.integers(1, 500),
    batch=st.integers(8, 4096),
    micro_batches=st.integers(1, 8),
    optimiser=st.builds(SGD, momentum=shares, nesterov=st.booleans()) | st.builds(Adam, eps=shares),
    schedule=st.builds(StepDecay, rate=shares, steps=st.lists(st.integers(1), min_size=1).map(tuple))
    | st.builds(Cosine, final=shares),
    augment=st.lists(
        st.builds(Flip, probability=shares)
        | st.builds(Pad, pixels=st.integers(0, 9))
        | st.builds(Area, area=pairs, aspect=pairs),
        max_size=3,
    ).map(tuple),
)
configs = st.builds(
    Training,
    recipe=names,
    model=st.builds(Model, names, rows, mean=st.tuples(shares, shares, shares), std=st.tuples(shares, shares, shares)),
    stages=st.lists(stages, min_size=1, max_size=3).map(tuple),
    preprocess=st.builds(Preprocess, size=st.integers(1, 256), interpolation=st.sampled_from(["nearest", "lanczos"])),
    data=names,
    seed=st.integers(0, 2**63 - 1),
    device=st.sampled_from(["auto", "cpu", "cuda"]),
    nonfinite=st.sampled_from(["stop", "skip"]),
)


@given(configs)
@settings(max_examples=50, deadline=None)
def test_a_config_survives_a_round_trip_through_json(config: Training) -> None:
    assert from_json(Training, json.loads(json.dumps(to_json(config))), "", KINDS) == config
    assert difference(config, config) == []


@dataclass(frozen=True)
class Inner:
    """A dataclass inside another."""

    name: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Sample:
    """A dataclass with one field of each type that a config may have."""

    n: int = 1
    x: float = 1.0
    word: str = "a"
    yes: bool = True
    kind: Literal["a", "b"] = "a"
    pair: tuple[int, int] = (1, 2)
    many: tuple[float, ...] = ()
    maybe: int | None = None
    either: Literal["none"] | int = 0
    table: dict[str, int] = dataclasses.field(default_factory=dict)
    inner: Inner = Inner()
    other: Inner | None = None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"m": 1}, "Sample has no field 'm'; there are: "),
        ({"wrod": "b"}, "Sample has no field 'wrod'; did you mean 'word'?"),
        ({"inner": {"momentun": 0.5}}, "Inner has no field 'inner.momentun'; did you mean 'momentum'?"),
        ({"inner": 3}, "inner is 3; it must be an object with the fields of Inner"),
        ({"inner": {"betas": [0.9]}}, "inner.betas is [0.9]; it must be "),
        ({"inner": {"betas": [0.9, "x"]}}, "inner.betas.1 is 'x'; it must be a finite number"),
        ({"other": {"name": "sdg"}}, "other.name is 'sdg'; it must be one of 'sgd', 'adam'"),
        ({"n": 1.5}, "n is 1.5; it must be a whole number"),
        ({"n": True}, "n is True; it must be a whole number"),
        ({"n": "1"}, "n is '1'; it must be a whole number"),
        ({"x": "1"}, "x is '1'; it must be a finite number"),
        ({"x": False}, "x is False; it must be a finite number"),
        ({"x": math.nan}, "x is nan; it must be a finite number"),
        ({"x": -math.inf}, "x is -inf; it must be a finite number"),
        ({"x": 10**400}, "x is 1000"),
        ({"word": 1}, "word is 1; it must be text"),
        ({"yes": 1}, "yes is 1; it must be true or false"),
        ({"kind": "c"}, "kind is 'c'; it must be one of 'a', 'b'"),
        ({"kind": []}, "kind is []; it must be one of 'a', 'b'"),
        ({"pair": [1, 2, 3]}, "pair is [1, 2, 3]; it must be "),
        ({"many": [1, None]}, "many.1 is None; it must be a finite number"),
        ({"maybe": "x"}, "maybe is 'x'; it must be "),
        ({"either": "some"}, "either is 'some'; it must be "),
        ({"table": {"k": "v"}}, "table.k is 'v'; it must be a whole number"),
        ({"table": []}, "table is []; it must be "),
        ([], "Sample is []; it must be an object with the fields of Sample"),
    ],
)
def test_wrong_json_is_refused_by_its_dotted_key(value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_json(Sample, value)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, Sample()),
        ({"x": 2}, Sample(x=2.0)),
        ({"many": [1, 2.5]}, Sample(many=(1.0, 2.5))),
        ({"maybe": None}, Sample()),
        ({"maybe": 3}, Sample(maybe=3)),
        ({"either": 3}, Sample(either=3)),
        ({"either": "none"}, Sample(either="none")),
        ({"table": {"k": 1}}, Sample(table={"k": 1})),
        ({"inner": {"name": "adam"}}, Sample(inner=Inner("adam"))),
        ({"other": {"name": "adam"}}, Sample(other=Inner("adam"))),
    ],
)
def test_valid_json_becomes_the_value(value: Any, expected: Sample) -> None:
    assert from_json(Sample, value) == expected


def test_a_whole_number_becomes_a_float_where_one_is_wanted() -> None:
    assert isinstance(from_json(float, 2), float)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(UserError, match="Training lacks the field 'recipe'"):
        from_json(Training, {})
    with pytest.raises(UserError, match="model lacks the field 'network'"):
        from_json(Training, {**to_json(CONFIG), "model": {}})


def test_flatten_reaches_into_arrays_of_objects_only() -> None:
    nested = {"a": {"b": 1}, "stages": [{"epochs": 1}, {"epochs": 2}], "mean": [0.5, 0.5]}
    assert flatten(nested) == {"a.b": 1, "stages.0.epochs": 1, "stages.1.epochs": 2, "mean": [0.5, 0.5]}


def test_difference_prints_before_and_now() -> None:
    changed = replace(
        CONFIG, seed=7, stages=(replace(STAGE, schedule=Cosine(rate=0.5)),), model=Model("lenet-5", {"size": 32})
    )
    assert difference(CONFIG, changed) == [
        "stages.0.schedule.rate: 0.1 before, 0.5 now",
        "seed: 0 before, 7 now",
        "model.row.size: absent before, 32 now",
    ]


def test_difference_names_empty_values() -> None:
    assert difference(CONFIG, replace(CONFIG, init="run")) == ["init: empty before, run now"]


def test_difference_sees_another_stage() -> None:
    assert "stages.1.epochs: absent before, 1 now" in difference(CONFIG, TWO_STAGES)


@pytest.mark.parametrize(
    ("optimiser", "message"),
    [
        ({"kind": "sdg"}, "no optimiser is named 'sdg'; did you mean 'sgd'?"),
        ({"name": "adam"}, "optimiser lacks the field 'kind'; choose one of: adam, sgd"),
        (3, "optimiser is 3; it must be "),
        (
            {"kind": "sgd", "eps": 1},
            "--optimiser.eps belongs to the optimiser kind adam, but the optimiser of this run is sgd",
        ),
        ({"kind": "sgd", "epz": 1}, "SGD has no field 'optimiser.epz'"),
        ({"kind": "os.system"}, "no optimiser is named 'os.system'"),
    ],
)
def test_a_kind_is_found_by_name_and_its_fields_are_checked(optimiser: Any, message: str) -> None:
    record = to_json(CONFIG)
    assert from_json(Training, record, "", KINDS) == CONFIG
    record["stages"][0]["optimiser"] = optimiser
    with pytest.raises(UserError) as caught:
        from_json(Training, record, "", KINDS)
    assert str(caught.value).startswith(message)


def test_flatten_lists_kinds_and_the_fields_of_each() -> None:
    def flat(*augment: Any) -> dict[str, Any]:
        return flatten(to_json(Stage(optimiser=SGD(), schedule=Cosine(), augment=augment)))

    def only(found: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in found.items() if key.startswith("augment")}

    two = {"augment": ["flip", "pad"], "augment.flip.probability": 0.5, "augment.pad.pixels": 4}
    assert only(flat(Flip(), Pad())) == two
    assert only(flat()) == {"augment": []}
    several = {"augment": ["pad", "flip", "pad"], "augment.0.pixels": 4, "augment.2.pixels": 1}
    assert only(flat(Pad(), Flip(), Pad(pixels=1))) == {**several, "augment.flip.probability": 0.5}
    assert flat(Flip())["kind"] == "descend" and flatten(to_json(CONFIG))["stages.0.kind"] == "descend"


def test_another_order_of_kinds_is_a_difference() -> None:
    one, other = (replace(CONFIG, stages=(replace(STAGE, augment=a),)) for a in ((Flip(), Pad()), (Pad(), Flip())))
    assert difference(one, other) == ["stages.0.augment: ['flip', 'pad'] before, ['pad', 'flip'] now"]


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ([{"kind": "flop"}], "no augmentation is named 'flop'; did you mean 'flip'?"),
        ([{"probability": 0.5}], "stages.augment.0 lacks the field 'kind'"),
        ([{"kind": "pad", "pixels": "4"}], "augment.pad.pixels is '4'; it must be a whole number"),
        ([{"kind": "pad", "pixel": 4}], "Pad has no field 'augment.pad.pixel'"),
        ({"flip": True, "pad": 4}, "augment is {'flip': True, 'pad': 4}; it must be"),
        (["flip"], "augment.0 is 'flip'; it must be"),
    ],
)
def test_a_wrong_list_of_kinds_is_refused_by_its_key(augment: Any, message: str) -> None:
    record = to_json(CONFIG)
    record["stages"][0]["augment"] = augment
    with pytest.raises(UserError) as caught:
        from_json(Training, record, "", KINDS)
    assert str(caught.value).startswith(message.removeprefix("stages."))
