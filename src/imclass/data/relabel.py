"""Splits whose classes were chosen: classes may be left out, renamed, merged, or added by a model that grows."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from imclass.core.classes import ClassChoice, choose_classes
from imclass.core.config import Cut
from imclass.core.contracts import Origin
from imclass.core.targets import OneOf, Targets
from imclass.core.text import list_names
from imclass.data.source import LazySplits
from imclass.data.subset import Subset


@dataclass(frozen=True, eq=False, kw_only=True)
class Relabelled(Subset):
    """The images of a split whose classes were chosen. If images may have several labels, none is left out."""

    choice: ClassChoice
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        return self.choice.classes

    @cached_property
    def targets(self) -> Targets:
        return self.base.targets[self.positions].renumber(self.choice.numbers, len(self.classes))

    @property
    def origin(self) -> Origin:
        """Return the origin of the data, with a note on what the choice leaves out."""
        return replace(self.base.origin, notes=(*self.base.origin.notes, *self.notes))


def with_classes(splits: LazySplits, cut: Cut, data: str) -> LazySplits:
    """Return the splits of `data` with the classes that `cut` chooses. Raise `UserError` for an invalid choice."""

    def make(split: str) -> Relabelled:
        base = splits[split]
        where = f"the model grown with {data}" if cut.old else data
        choice = choose_classes(base.classes, cut.classes, cut.old, where)
        dropped = [name for name, n in zip(base.classes, choice.numbers, strict=True) if n < 0]
        kept, notes = np.arange(len(base)), []
        if isinstance(base.targets, OneOf):
            kept = np.flatnonzero(choice.numbers[base.targets.numpy()] >= 0)
            left_out = f"{len(base) - len(kept):,} of {len(base):,} images of {split} are left out"
        else:
            left_out = f"labels in {split} are left out, and their images are kept"
        if dropped:
            notes.append(f"{left_out}: --classes does not list {list_names(dropped)}")
        return Relabelled(base, kept, split, base.splits, choice=choice, notes=tuple(notes))

    return LazySplits(tuple(splits), make)
