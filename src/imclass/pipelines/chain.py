"""Chains of parts that turn images into rows of features."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from imclass.core.contracts import Image
from imclass.core.errors import UserError
from imclass.core.runtime import one_thread_each
from imclass.core.targets import Targets
from imclass.data.threads import map_in_order
from imclass.pipelines.part import Feature, PipelinePart

ENCODER = "an encoder, such as fisher, vlad or words"


@dataclass(frozen=True)
class Chain:
    """Parts in order. The first takes images, and each of the others takes its predecessor's output."""

    parts: tuple[Feature, ...]

    def __post_init__(self) -> None:
        check_order(self.parts)

    def rows(self, images: Sequence[Image]) -> Float[np.ndarray, "N E"]:
        """Return a row for each image.

        If the first part, or the first after `resize`, extracts descriptors, as many threads as PyTorch uses share the
        images, and only the descriptors of the images in work are in memory. The result does not depend on the number
        of threads.
        """
        if not self.by_image or not len(images):
            return self.transform(images)
        with one_thread_each() as workers:
            found = map_in_order(lambda image: self.transform([image]), images, workers, ahead=2 * workers)
            return np.concatenate(list(found))

    @property
    def by_image(self) -> bool:
        """Return whether images become descriptors, which take much more memory."""
        after = self.parts[count_image_parts(self.parts) :]
        return bool(after) and after[0].gives == "descriptors"

    def transform(self, images: Sequence[Image]) -> Any:
        """Return the last part's output for all images together."""
        return reduce(lambda x, part: part.transform(x), self.parts, images)

    def fit(self, images: Sequence[Image], targets: Targets, classes: int) -> Any:
        """Fit each part to its predecessor's output, and return the last part's output for all images.

        The output of each part for all images must fit in memory.
        """
        x: Any = images
        for part in self.parts:
            part.fit(x, targets, classes)
            x = part.transform(x)
        return x


def count_image_parts(parts: Sequence[PipelinePart]) -> int:
    """Return how many parts, from the first, give images, as `resize` does."""
    return next((i for i, part in enumerate(parts) if part.gives != "images"), len(parts))


def check_order(parts: Sequence[PipelinePart]) -> None:
    """Raise `UserError` if the first part does not take images, or a part does not take its predecessor's output."""
    if parts and "images" not in parts[0].takes:
        beginning = "one that describes images, such as dense-sift" if "descriptors" in parts[0].takes else "a feature"
        raise UserError(
            f"the part {parts[0].kind} comes first, but takes {' or '.join(parts[0].takes)} and not images; put "
            f"{beginning} before it"
        )
    for before, after in pairwise(parts):
        if before.gives not in after.takes:
            raise UserError(
                f"the part {before.kind} gives {before.gives}, but {after.kind}, which follows it, takes "
                f"{' or '.join(after.takes)}; {advice(before, after)}"
            )


def advice(before: PipelinePart, after: PipelinePart) -> str:
    """Return how to correct two parts that do not fit each other."""
    if before.gives == "descriptors" and "rows" in after.takes:
        return f"put {ENCODER}, between them"
    if before.gives == "rows" and "descriptors" in after.takes:
        return f"put {after.kind} before the encoder, or begin with a part that describes patches, such as dense-sift"
    if after.gives == "images":
        return f"put {after.kind} first"
    if "images" in after.takes:
        return f"put {after.kind} first, or join both as channels of a union"
    return f"leave one of them out, or put a part between them that turns {before.gives} into {after.takes[0]}"
