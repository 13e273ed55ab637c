"""Several chains whose rows are joined, such as a chain for shape and one for colour."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Float32

from imclass.core.bounds import Above
from imclass.core.config import AnyPart
from imclass.core.contracts import Classifier, Image
from imclass.core.errors import UserError
from imclass.core.targets import Targets
from imclass.pipelines.chain import Chain
from imclass.pipelines.part import Feature, Flow


@dataclass(frozen=True)
class Channel:
    """A chain of parts that turns images into rows."""

    parts: tuple[AnyPart, ...]
    weight: Annotated[float, Above(0)] = 1.0  # factor for the rows


@dataclass
class Union(Feature):
    """The joined rows of several chains, each multiplied by its weight.

    Learned arrays and classifiers of the chains have prefixes: "1.2.means_" is learned by the third part of the second
    channel.
    """

    kind: ClassVar[str] = "union"
    takes: ClassVar[tuple[Flow, ...]] = ("images",)
    channels: tuple[Channel, ...] = ()  # at least one

    def check_together(self, at: str) -> None:
        """Raise `UserError` if there are no channels, or if the parts of one do not fit each other."""
        self.channels_of()

    def channels_of(self) -> tuple[tuple[Feature, ...], ...]:
        """Return the parts of each channel. Raise `UserError` unless they turn images into rows."""
        return tuple(chain.parts for chain in self.chains())

    def chains(self) -> list[Chain]:
        """Return the chain of each channel. Raise `UserError` unless it turns images into rows."""
        if not self.channels:
            raise UserError("the part union has no channels; give it at least one, each with parts")
        found = []
        for i, channel in enumerate(self.channels):
            try:
                chain = Chain(tuple(part for part in channel.parts if isinstance(part, Feature)))
            except UserError as error:
                raise UserError(f"channel {i + 1} of the union: {error}") from None
            if len(chain.parts) < len(channel.parts) or not chain.parts or chain.parts[-1].gives != "rows":
                given = ", ".join(part.kind for part in channel.parts) or "none"
                raise UserError(
                    f"channel {i + 1} of the union must consist of parts that turn images into rows, but its parts "
                    f"are: {given}; end it with an encoder such as fisher, and put the scorer after the union"
                )
            found.append(chain)
        return found

    def named_parts(self) -> Iterator[tuple[str, Feature]]:
        """Yield the prefix and the part, for each part of each channel."""
        for c, parts in enumerate(self.channels_of()):
            for p, part in enumerate(parts):
                yield f"{c}.{p}.", part

    def fit(self, x: Sequence[Image], targets: Targets, classes: int) -> "Union":
        """Fit each chain to the images, and return the part."""
        for chain in self.chains():
            chain.fit(x, targets, classes)
        return self

    def transform(self, x: Sequence[Image]) -> Float32[np.ndarray, "N D"]:
        """Return the joined rows of images of any size."""
        return self.join_rows([chain.rows(x).astype(np.float32, copy=False) for chain in self.chains()])

    def join_rows(self, rows: Sequence[Float32[np.ndarray, "N _"]]) -> Float32[np.ndarray, "N D"]:
        """Return the joined rows, given the rows of each chain."""
        weighted = [np.float32(c.weight) * each for c, each in zip(self.channels, rows, strict=True)]
        return np.concatenate(weighted, 1)

    def facts(self) -> dict[str, Any]:
        """Return the records of those parts that have one, keyed by channel and part, such as "1.2"."""
        return {prefix[:-1]: facts for prefix, part in self.named_parts() if (facts := part.facts())}

    def members(self) -> dict[str, Classifier]:
        """Return the classifiers in all chains."""
        return {prefix + name: held for prefix, part in self.named_parts() for name, held in part.members().items()}

    def set_members(self, members: Mapping[str, Classifier]) -> None:
        """Set the classifiers in all chains. Raise `UserError` for a name that belongs to no part."""
        named = dict(self.named_parts())
        check_prefixes(members, named, "the members")
        for prefix, part in named.items():
            part.set_members(under(members, prefix))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the learned arrays of all chains. Raise `UserError` if a part has not been fitted."""
        return {prefix + name: array for prefix, part in self.named_parts() for name, array in part.arrays().items()}

    def restore(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        """Set the learned arrays of all chains from a file. Raise `UserError` if they are not those of its parts."""
        named = dict(self.named_parts())
        check_prefixes(arrays, named, where)
        for prefix, part in named.items():
            channel, position = prefix.split(".")[:2]
            part.restore(under(arrays, prefix), f"{where}, channel {int(channel) + 1}, part {int(position) + 1}")


def check_prefixes(values: Mapping[str, Any], prefixes: Mapping[str, Feature], where: str) -> None:
    """Raise `UserError` for a name that begins with no part's prefix."""
    unknown = sorted(name for name in values if not name.startswith(tuple(prefixes)))
    if unknown:
        raise UserError(
            f"{where}: {unknown[0]} belongs to no part of the union, whose names begin with {', '.join(prefixes)}; fit "
            "the pipeline again"
        )


def under(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the values whose names begin with a prefix, under the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


PARTS = {"union": Union}
