"""Batches of augmented training views: from memory where the data set fits, else decoded by threads ahead of need.

What batch k of an epoch holds depends on (seed, epoch, k) alone: not on workers, not on where an epoch is resumed, not
on which images are refused. A refused image is named and its batch shrinks.
"""

import contextlib
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from imclass.core.config import Augment
from imclass.core.contracts import Dataset, Image, Refused
from imclass.core.errors import BadImage
from imclass.core.preprocess import Preprocess
from imclass.core.randomness import Draws
from imclass.data.augment import window
from imclass.data.threads import attempt, in_order


@dataclass(frozen=True, eq=False)
class Batch:
    """Images that are learnt from together, possibly none; `positions` are theirs in the data set."""

    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, "N"]
    ids: Int64[np.ndarray, "N"]
    positions: Int64[np.ndarray, "N"]
    refused: tuple[Refused, ...] = ()  # what would have been in it
    waited: float = 0.0  # seconds the consumer waited for it


@dataclass(frozen=True, eq=False)
class Views:
    """Images at the network's size, where each lies in the data set, and by position why others are not here."""

    images: UInt8[np.ndarray, "N H W C"]
    positions: Int64[np.ndarray, "N"]
    refused: Mapping[int, Refused]


@dataclass(frozen=True, eq=False)
class Loader:
    """One split as batches, epoch after epoch. The last batch of an epoch may be smaller; none is left out.

    A data set that needs at most `memory_mib` at the network's size is kept decoded, unless each epoch takes new parts
    of its images. `workers` threads decode (0: the caller does); results do not depend on it. With `training` off the
    images come in the data set's order and unaugmented.
    """

    dataset: Dataset
    preprocess: Preprocess
    augment: Augment
    fill: UInt8[Tensor, "C"]
    batch: int
    seed: int
    workers: int = 0
    memory_mib: int = 2048
    training: bool = True

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.dataset) // self.batch)

    @property
    def rules(self) -> Augment:
        """What is done to the images."""
        return self.augment if self.training else Augment()

    @property
    def in_memory(self) -> bool:
        """Whether all views are kept."""
        if window.crops(self.rules):
            return False
        needed = len(self.dataset) * self.preprocess.size**2 * self.preprocess.w_in
        return self.ready is not None or needed <= self.memory_mib << 20

    @property
    def ready(self) -> UInt8[np.ndarray, "N H W C"] | None:
        """The data set's own array, where it is what the network sees."""
        array = self.dataset.array
        return array if array is not None and untouched(self.preprocess, array.shape[1:]) else None

    @cached_property
    def kept(self) -> Views:
        """Every image as the network sees it, decoded once."""
        everything = np.arange(len(self.dataset))
        if self.ready is not None:
            return Views(self.ready, everything, {})
        with contextlib.closing(self.looked(Draws(self.seed), everything)) as results:
            return self.gathered(everything, results)

    def batches(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, beginning with number `skip`."""
        ids, draws = self.dataset.ids, Draws(self.seed).at(epoch)
        order = draws.order(ids) if self.training else np.arange(len(ids))
        parts = [order[at : at + self.batch] for at in range(skip * self.batch, len(order), self.batch)]
        with contextlib.closing(self.from_memory(parts) if self.in_memory else self.from_workers(draws, parts)) as seen:
            while True:
                began = time.perf_counter()
                views = next(seen, None)
                if views is None:
                    return
                yield self.finished(views, draws, began)

    def from_memory(self, parts: Sequence[Int64[np.ndarray, "_"]]) -> Generator[Views, None, None]:
        """The views of each batch, from those that are kept."""
        kept = self.kept
        rows = np.full(len(self.dataset), -1)  # of each position among the kept views
        rows[kept.positions] = np.arange(len(kept.positions))
        for part in parts:
            good = part[rows[part] >= 0]
            yield Views(kept.images[rows[good]], good, {i: kept.refused[i] for i in part.tolist() if i in kept.refused})

    def from_workers(self, draws: Draws, parts: Sequence[Int64[np.ndarray, "_"]]) -> Generator[Views, None, None]:
        """The views of each batch, decoded by threads up to two batches ahead."""
        stream = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        with contextlib.closing(self.looked(draws, stream)) as results:
            for part in parts:
                yield self.gathered(part, islice(results, len(part)))

    def looked(self, draws: Draws, positions: Int64[np.ndarray, "N"]) -> Generator[Image | BadImage, None, None]:
        """The view of each position in this epoch, or why it is refused."""
        return in_order(partial(self.look, draws), positions.tolist(), self.workers, ahead=2 * self.batch)

    def look(self, draws: Draws, i: int) -> Image | BadImage:
        """The view of one image, or why it is refused."""
        id = int(self.dataset.ids[i])
        seen = partial(window.view, preprocess=self.preprocess, rules=self.rules, draws=draws, id=id)
        return attempt(self.dataset, seen, i)

    def gathered(self, positions: Int64[np.ndarray, "N"], results: Iterator[Image | BadImage]) -> Views:
        """Results as one array, without those that are refused."""
        size = self.preprocess.size
        images = np.empty((len(positions), size, size, self.preprocess.w_in), np.uint8)
        good: list[int] = []
        refused: dict[int, Refused] = {}
        for i, result in zip(positions.tolist(), results, strict=True):
            if isinstance(result, BadImage):
                refused[i] = Refused(result.path, result.code, result.detail)
            else:
                images[len(good)] = result
                good.append(i)
        return Views(images[: len(good)], np.array(good, np.int64), refused)

    def finished(self, views: Views, draws: Draws, began: float) -> Batch:
        """Views made a batch of tensors, flipped and shifted."""
        ids = self.dataset.ids[views.positions]
        images = torch.from_numpy(np.ascontiguousarray(views.images.transpose(0, 3, 1, 2)))
        return Batch(
            images=window.augment(images, self.rules, self.fill, draws, ids),
            labels=torch.from_numpy(self.dataset.targets[views.positions].numpy()),
            ids=ids,
            positions=views.positions,
            refused=tuple(views.refused.values()),
            waited=time.perf_counter() - began,
        )


def untouched(preprocess: Preprocess, shape: Sequence[int]) -> bool:
    """Whether `preprocess` gives back every image of this shape (H, W, C) as it is."""
    size, channels = preprocess.size, preprocess.w_in
    scales = preprocess.resize == "shorter" and preprocess.scale != size
    reorders = preprocess.channels == "bgr" and channels == 3
    return not scales and not reorders and tuple(shape) == (size, size, channels)
