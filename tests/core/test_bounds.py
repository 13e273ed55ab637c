"""Bounds are checked at any depth, and messages name the field."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from imclass.core.bounds import Above, AtLeast, AtMost, Below, check_bounds
from imclass.core.codec import has_type, type_description
from imclass.core.errors import UserError, require


@dataclass(frozen=True)
class Leaf:
    rate: Annotated[float, Above(0), AtMost(1e6)] = 0.1
    pair: Annotated[tuple[float, float], AtLeast(0), Below(1)] = (0.0, 0.5)

    def check_together(self, at: str) -> None:
        require(self.pair[0] <= self.pair[1], f"{at}pair", self.pair, "in order")


@dataclass(frozen=True)
class Root:
    leaf: Leaf = Leaf()
    leaves: tuple[Leaf, ...] = (Leaf(),)
    count: Annotated[int, AtLeast(2, "one is too few")] = 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Root(leaf=Leaf(rate=0.0)), "--leaf.rate is 0.0; it must be above 0 and at most 1,000,000"),
        (Root(leaves=(Leaf(rate=2e6),)), "--rate is 2000000.0; it must be above 0"),
        (Root(leaves=(Leaf(), Leaf(rate=-1.0))), "--leaves.1.rate is -1.0"),
        (Root(leaf=Leaf(rate=math.nan)), "--leaf.rate is nan; it must be a finite number"),
        (
            Root(leaf=Leaf(pair=(0.5, 1.0))),
            "--leaf.pair is (0.5, 1.0); it must be a list of numbers, each at least 0 and below 1",
        ),
        (Root(leaf=Leaf(pair=(0.5, 0.4))), "--leaf.pair is (0.5, 0.4); it must be in order"),
        (Root(count=1), "--count is 1; it must be at least 2, because one is too few"),
        (Root(count=2.5), "--count is 2.5; it must be a whole number"),  # type: ignore[arg-type]
    ],
)
def test_a_field_out_of_bounds_is_named(value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_bounds(value)
    assert str(caught.value).startswith(message)


def test_values_within_bounds_pass() -> None:
    check_bounds(Root())
    check_bounds(Root(leaf=Leaf(rate=1e6, pair=(0.0, 0.0)), count=3))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, 1, True),
        (float, 1, math.inf),
        (bool, False, 0),
        (str, "a", 1),
        (Literal["a", "b"], "b", "c"),
        (tuple[int, ...], (1, 2), (1, 2.5)),
        (tuple[int, int], (1, 2), (1,)),
        (float, -1.5, 10**400),
    ],
)
def test_a_value_fits_its_type_only(kind: Any, good: Any, bad: Any) -> None:
    assert has_type(kind, good) and not has_type(kind, bad)
    assert type_description(kind)
