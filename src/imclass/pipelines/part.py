"""What a part of a pipeline is, and the table of parts.

A part follows scikit-learn's contract: its constructor stores its arguments, `get_params()` are these, `fit` returns
the part, and what it learned are arrays with names that end in "_". It is a dataclass with the arguments as fields.
"""
# Tested in tests/pipelines/test_pipeline.py

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from imclass.core.contracts import Classifier
from imclass.core.errors import UserError
from imclass.core.tables import EntryTable
from imclass.core.targets import Link, Targets
from imclass.core.text import suggestion
from imclass.store.context import Context, find_in


def pipeline_parts(context: Context | None = None) -> EntryTable:
    """Return every kind of part there is, by name."""
    found = find_in(context, "imclass.pipelines.parts", "PARTS", "part")

    def explain(name: str) -> str:
        failed = "".join(f"\n  not imported: {failure}" for failure in found.failures)
        why = f"no part is named {name!r}{suggestion(name, found.entries)}"
        return f"{why}; if a plugin has it, give the --plugins DIR that it was fitted with{failed}"

    return replace(found, explain=explain)


@dataclass
class PipelinePart:
    """A part of a pipeline. The first is given images, a sequence of uint8 H W C; each other what the one before gives.

    That is an array with a row for each image, or anything else that the two agree on.
    """

    kind: ClassVar[str] = ""  # its name in the table
    learned: ClassVar[tuple[str, ...]] = ()  # the names of its arrays, which end in "_"

    def get_params(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def fit(self, x: Any, targets: Targets, classes: int) -> "PipelinePart":
        """Learn from what the part before gives for the training images, which are of K `classes`; return the part."""
        return self

    def members(self) -> Mapping[str, Classifier]:
        """Return the classifiers that the part holds, which a model file keeps with it."""
        return vars(self).get("held", {})

    def hold(self, members: Mapping[str, Classifier]) -> None:
        """Take classifiers to hold, by names without a dot."""
        self.held = dict(members)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned. Raise `UserError` for a part that was not fitted."""
        missing = [name for name in self.learned if not hasattr(self, name)]
        if missing:
            raise UserError(f"the part {self.kind} has no {missing[0]}: it is not fitted; call fit first")
        return {name: np.asarray(getattr(self, name)) for name in self.learned}

    def restore(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        """Take what was learned from a file. Raise `UserError` unless these are the part's arrays."""
        if set(arrays) != set(self.learned):
            ours, theirs = (", ".join(sorted(names)) or "nothing" for names in (self.learned, arrays))
            raise UserError(f"{where}: the part {self.kind} learns {ours}, and the file has {theirs}; fit it again")
        for name, array in arrays.items():
            setattr(self, name, array)


class Feature(PipelinePart):
    """A part that another follows."""

    @abstractmethod
    def transform(self, x: Any) -> Any:
        """Return what the next part is given, for any images."""


class Scorer(PipelinePart):
    """The last part. `link` says what its scores are: "softmax" of log-scores, "sigmoid" of logits."""

    link: Link

    @abstractmethod
    def scores(self, x: Any) -> Float[np.ndarray, "N K"]:
        """Return the scores of each image."""
