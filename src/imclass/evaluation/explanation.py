"""The contract of explanations: methods that show which parts of an image a network's score of a class depends on."""
# Tested in tests/evaluation/explanations/test_map.py

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from imclass.core.contracts import Image, NetworkBacked
from imclass.core.preprocess import Box
from imclass.core.tables import EntryTable
from imclass.store.context import Context, find_in


@dataclass(frozen=True)
class ClassMap:
    """The values of one class at positions of an image, in [0, 1].

    Boxes are in pixels of the image: left, top, right and bottom. `box` is the part of the image that the map is drawn
    over, with all positions equally large. `window` is the part of the image from which the highest value comes.
    """

    values: Float64[np.ndarray, "h w"]
    box: Box
    window: Box
    scale: int  # the shorter side of the resized image, in pixels

    @property
    def highest(self) -> float:
        """Return the highest value."""
        return float(self.values.max())


@runtime_checkable
class Explanation(Protocol):
    """An immutable method that explains a network's score of one class of one image by maps."""

    @property
    def name(self) -> str:
        """Return the name of the method in the table of explanations."""
        ...

    def check(self, classifier: NetworkBacked, scales: Sequence[int]) -> None:
        """Raise `UserError` if the method cannot explain the classifier at these scales."""
        ...

    def __call__(
        self, classifier: NetworkBacked, image: Image, label: int, scales: Sequence[int]
    ) -> tuple[ClassMap, ...]:
        """Return a map for each scale, the shorter side of the image in pixels. No scales stand for the default."""
        ...


def explanations(context: Context | None = None) -> EntryTable:
    """Return all methods of explanation by name. Invalid and misnamed entries are listed as failures."""
    found = find_in(context, "imclass.evaluation.explanations", "EXPLANATIONS", "method of explanation")
    wrong = [name for name, entry in found.entries.items() if not isinstance(entry, Explanation) or entry.name != name]
    flaws = [
        f"{found.what} {name}: it must have this name and check(classifier, scales), and be callable" for name in wrong
    ]
    usable = {name: entry for name, entry in found.entries.items() if name not in wrong}
    return replace(found, entries=usable, failures=(*found.failures, *flaws))
