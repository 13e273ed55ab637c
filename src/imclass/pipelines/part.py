"""Base classes of the parts of a pipeline, and the table of parts.

A part is a dataclass that follows scikit-learn's contract: its fields are the constructor's arguments, `get_params()`
returns them, `fit` returns the part, and learned arrays have names that end in "_".
"""
# Tested in tests/pipelines/test_pipeline.py

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Float32

from imclass.core.config import AnyPart
from imclass.core.contracts import Classifier, Image
from imclass.core.errors import UserError
from imclass.core.tables import EntryTable
from imclass.core.targets import Link, Targets
from imclass.core.text import suggestion
from imclass.pipelines.descriptors import Descriptors
from imclass.store.context import Context, find_in

# What flows between parts: uint8 H W C images, the `Descriptors` of images, or an array with a row for each image.
Flow: TypeAlias = Literal["images", "descriptors", "rows", "scores"]
FitProgress: TypeAlias = tuple[int, int]  # finished and expected steps, such as iterations


def pipeline_parts(context: Context | None = None) -> EntryTable:
    """Return the table of all kinds of parts."""
    table = find_in(context, "imclass.pipelines.parts", "PARTS", "part")

    def explain(name: str) -> str:
        failed = "".join(f"\n  not imported: {failure}" for failure in table.failures)
        problem = f"no part is named {name!r}{suggestion(name, table.entries)}"
        return (
            f"{problem}; if a plugin defines the part, pass the --plugins DIR that was used to fit the pipeline{failed}"
        )

    return replace(table, explain=explain)


@dataclass
class PipelinePart(AnyPart):
    """A part of a pipeline.

    The first part processes a sequence of images, and every other part processes its predecessor's output. The output
    for an image must not depend on the other images, and several threads may ask for it at once.
    """

    kind: ClassVar[str] = ""  # its name in the table
    needs_network: ClassVar[bool] = False  # whether the part holds a network, which `init` names
    takes: ClassVar[tuple[Flow, ...]] = ("images", "rows")  # what the part can process
    gives: ClassVar[Flow] = "rows"  # its output
    learned: ClassVar[tuple[str, ...]] = ()  # the names of its learned arrays, which end in "_"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments. `deep` has no effect, and is there because scikit-learn passes it."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def fit(self, x: Any, targets: Targets, classes: int) -> "PipelinePart":
        """Learn from the predecessor's output for the training images, and return the part.

        `classes` is the number of classes. A part that takes descriptors learns from a sample of them.
        """
        return self

    def fit_steps(self, x: Any, targets: Targets, classes: int, seed: int = 0) -> Iterator[FitProgress]:
        """Learn as `fit` does, and yield after each step. A part that learns in many steps overrides this method.

        `seed` decides all random choices. If the iterator is not exhausted, the part has not been fitted.
        """
        self.fit(x, targets, classes)
        yield 1, 1

    def facts(self) -> dict[str, Any]:
        """Return a plain JSON record of the choices that the fit made, if there are any."""
        return {}

    def members(self) -> Mapping[str, Classifier]:
        """Return the classifiers in the part. A model file stores them with the part."""
        return vars(self).get("held", {})

    def set_members(self, members: Mapping[str, Classifier]) -> None:
        """Set the classifiers in the part, keyed by names without a dot."""
        self.held = dict(members)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the learned arrays. Raise `UserError` if the part has not been fitted."""
        missing = [name for name in self.learned if not hasattr(self, name)]
        if missing:
            raise UserError(f"the part {self.kind} has no {missing[0]}, because it has not been fitted; call fit first")
        return {name: np.asarray(getattr(self, name)) for name in self.learned}

    def restore(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        """Set the learned arrays from a file. Raise `UserError` if they are not exactly those that the part learns."""
        if set(arrays) != set(self.learned):
            expected, found = (", ".join(sorted(names)) or "nothing" for names in (self.learned, arrays))
            raise UserError(
                f"{where}: the part {self.kind} learns {expected}, but the file has {found}; fit the pipeline again"
            )
        for name, array in arrays.items():
            setattr(self, name, array)


class Feature(PipelinePart):
    """A part that is followed by another."""

    @abstractmethod
    def transform(self, x: Any) -> Any:
        """Transform `x` into the input of the next part, in training as well as in prediction."""

    def channels_of(self) -> tuple[tuple["Feature", ...], ...]:
        """Return the chains in the part, each of which turns images into rows. Most parts have none."""
        return ()

    def join_rows(self, rows: Sequence[Float32[np.ndarray, "N _"]]) -> Float32[np.ndarray, "N D"]:
        """Return the part's output, given the rows of its chains."""
        raise TypeError(f"the part {self.kind} has no chains")


def every_part(parts: Iterable[Any]) -> list[PipelinePart]:
    """Return all parts, including those in the chains of a part."""
    found: list[PipelinePart] = []
    for part in parts:
        if isinstance(part, PipelinePart):
            found.append(part)
        if isinstance(part, Feature):
            found += [inner for chain in part.channels_of() for inner in every_part(chain)]
    return found


class PatchExtractor(Feature):
    """A first part that describes patches of images."""

    takes: ClassVar[tuple[Flow, ...]] = ("images",)
    gives: ClassVar[Flow] = "descriptors"

    @abstractmethod
    def transform(self, x: Sequence[Image]) -> Descriptors:
        """Return the descriptors of images of any size."""


class DescriptorFeature(Feature):
    """A part that changes descriptors. Those of an image must not depend on other images."""

    takes: ClassVar[tuple[Flow, ...]] = ("descriptors",)
    gives: ClassVar[Flow] = "descriptors"

    @abstractmethod
    def transform(self, x: Descriptors) -> Descriptors:
        """Return the changed descriptors of the same images."""


class Encoder(Feature):
    """A part that turns the descriptors of an image, however many they are, into one row of numbers.

    Every cell of every grid in `x.grids` is encoded, and the results are joined in the order of the cells.
    """

    takes: ClassVar[tuple[Flow, ...]] = ("descriptors",)

    @abstractmethod
    def transform(self, x: Descriptors) -> Float32[np.ndarray, "N E"]:
        """Return a row for each image."""


class Scorer(PipelinePart):
    """The last part. Its scores are log-scores if `link` is "softmax", and logits if it is "sigmoid"."""

    takes: ClassVar[tuple[Flow, ...]] = ("rows",)
    gives: ClassVar[Flow] = "scores"
    min_images: ClassVar[int] = 1  # training images that each class needs
    link: Link

    @abstractmethod
    def scores(self, x: Any) -> Float[np.ndarray, "N K"]:
        """Return the scores of all images."""


class LinearScorer(Scorer):
    """A last part whose scores are linear in its input, so that it can become the last layer of a network."""

    min_images: ClassVar[int] = 2

    @abstractmethod
    def fit(
        self, x: Any, targets: Targets, classes: int, weights: Float[np.ndarray, "N"] | None = None
    ) -> "LinearScorer":
        """Learn from the predecessor's output for the training images, and return the part.

        `weights` contains the factor for each image's loss. If it is None, all factors are 1.
        """

    @abstractmethod
    def linear_model(self) -> tuple[Float[np.ndarray, "K D"], Float[np.ndarray, "K"]]:
        """Return the weights and biases to apply to input that has not been scaled."""
