"""What one thread computes for one image: a sample of its descriptors, or its row."""
# Tested in tests/training/fits/test_fitter.py

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32

from imclass.core.contracts import Dataset, Image
from imclass.core.errors import BadImage, UserError
from imclass.core.randomness import Draws
from imclass.pipelines.descriptors import ONE_CELL, Descriptors
from imclass.pipelines.part import Feature
from imclass.training.fits.job import EncodedSplit

Encoded: TypeAlias = Float32[np.ndarray, "D"] | Descriptors


@dataclass(frozen=True)
class LazyImages(Sequence[Image]):
    """The images of a data set, decoded one by one for a part that learns from them."""

    dataset: Dataset
    kind: str  # of the part

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: Any) -> Any:
        """Return an image. Raise `UserError` if it cannot be used."""
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        if not 0 <= i < len(self):
            raise IndexError(i)
        try:
            return self.dataset[i]
        except BadImage as bad:
            problem = f"{bad.path} cannot be used ({bad.detail}), and the part {self.kind} learns from every image"
            raise UserError(f"{problem}; fix or remove the file") from None


class Sample:
    """Descriptors of several images, collected in arrays that are allocated once.

    Kept as many small arrays, they would be scattered among the large ones of whole images, and keep several times
    their size from being freed.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.count = limit, 0
        self.arrays: dict[str, np.ndarray] = {}
        self.sizes: list[np.ndarray] = []
        self.grids = ONE_CELL

    def add(self, x: Descriptors) -> None:
        """Add the descriptors of one image."""
        end = self.count + len(x)
        for name in ("values", "positions", "scales", "image"):
            array = getattr(x, name)
            if name not in self.arrays:
                self.arrays[name] = np.empty((self.limit, *array.shape[1:]), array.dtype)
            self.arrays[name][self.count : end] = array if name != "image" else len(self.sizes)
        self.sizes.append(x.sizes)
        self.count, self.grids = end, x.grids

    def descriptors(self) -> Descriptors:
        """Return all descriptors, in the order in which they were added."""
        arrays = {name: array[: self.count] for name, array in self.arrays.items()}
        return Descriptors(**arrays, sizes=np.concatenate(self.sizes), grids=self.grids)


def sampled_descriptors(
    features: Sequence[Feature], count: int, draws: Draws, image_id: int, image: Image
) -> Descriptors:
    """Return at most `count` descriptors of an image."""
    x: Any = [image]
    for part in features:
        x = part.transform(x)
    if not isinstance(x, Descriptors):
        raise TypeError(f"the part {features[-1].kind} gives no descriptors")
    order = draws.order(np.arange(len(x)) + np.int64(image_id))
    return x.select(np.sort(order[:count]))


def places_of(sources: Sequence[EncodedSplit]) -> list[dict[int, int]]:
    """Return the number of each image's row in each source."""
    return [{i: number for number, i in enumerate(source.kept.tolist())} for source in sources]


def encode_rows(
    features: Sequence[Feature],
    single: bool,
    sources: Sequence[EncodedSplit],
    places: Sequence[Mapping[int, int]],
    i: int,
    name: str,
) -> Float32[np.ndarray, "D"] | BadImage:
    """Return the row that features give for the rows of an image: those of channels, or a `single` one."""
    if any(i not in place for place in places):
        return BadImage("refused", name, "an earlier part refused it")
    rows = [source.rows[place[i] : place[i] + 1] for source, place in zip(sources, places, strict=True)]
    return single_row(features, rows[0]) if single else single_row(features[1:], features[0].join_rows(rows))


def encode_one(features: Sequence[Feature], image: Image) -> Float32[np.ndarray, "D"]:
    """Return the row of an image."""
    return single_row(features, [image])


def single_row(features: Sequence[Feature], x: Any) -> Float32[np.ndarray, "D"]:
    """Return the row that the features give for one image."""
    for part in features:
        x = part.transform(x)
    return np.asarray(x, np.float32)[0]


def check_row(row: Float32[np.ndarray, "D"], name: str) -> None:
    """Raise `UserError` if an image's row is not finite."""
    if not np.isfinite(row).all():
        raise UserError(f"the features of {name} are not finite, so the pipeline cannot be fitted; use other parts")


def check_any(split: EncodedSplit, dataset: Dataset) -> None:
    """Raise `UserError` if every image of a split was refused."""
    if not len(split.kept):
        raise UserError(f"every training image of {dataset.origin.path} was refused; see the reasons above")
