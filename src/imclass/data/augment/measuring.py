"""Augmentation that depends on the training images, for example on the colours of all their pixels."""
# Tested in tests/data/augment/test_pca_colour.py

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Protocol, TypeGuard, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from imclass.core.config import Augment


@runtime_checkable
class MeasuringKind(Protocol):
    """A kind of augmentation that needs numbers computed from the training images.

    They are computed once, before the first step, and stored with the run and with its models.
    """

    kind: ClassVar[str]

    def measure(self, views: Iterable[UInt8[np.ndarray, "_ H W C"]]) -> Float32[np.ndarray, "C C"]:
        """Return the numbers, computed from the preprocessed training images, whose channels are in the order RGB."""
        ...

    def with_measured(self, measured: Float32[np.ndarray, "C C"]) -> Augment:
        """Return a copy that uses these numbers."""
        ...


def is_measuring_kind(rule: object) -> TypeGuard[MeasuringKind]:
    """Return whether a rule needs numbers computed from the training images."""
    return hasattr(rule, "measure")


def with_measured(rules: Sequence[Augment], measured: Mapping[str, Float32[np.ndarray, "C C"]]) -> tuple[Augment, ...]:
    """Return the rules. Each rule whose kind is in `measured` uses the numbers for that kind."""
    return tuple(
        rule.with_measured(measured[rule.kind]) if is_measuring_kind(rule) and rule.kind in measured else rule
        for rule in rules
    )
