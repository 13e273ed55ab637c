"""Encoding of local descriptors: checks of the input, and the cells of a spatial pyramid.

Axes in annotations: D descriptors, d numbers in each, A atoms, C cells of all grids, N images, E numbers in a row.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from imclass.core.errors import UserError
from imclass.core.targets import Targets
from imclass.pipelines.codebooks.kmeans import KMeans
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.part import Encoder, FitProgress


@dataclass(frozen=True, eq=False)
class Atoms:
    """The descriptors of an image, grouped by the cells that contain them.

    An atom is a set of cells, one of each grid, with at least one descriptor in all of them. Statistics of the atoms
    are therefore computed once, and those of a cell are sums over its atoms.
    """

    order: Int64[np.ndarray, "D"]  # positions of the descriptors, sorted by atom
    ends: Int64[np.ndarray, "A"]  # the end of each atom in that order
    cells: Float32[np.ndarray, "C A"]  # 1 for the atoms of each cell

    @property
    def number(self) -> Int64[np.ndarray, "D"]:
        """Return the atom of each descriptor in `order`."""
        return np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))

    @property
    def counts(self) -> Float32[np.ndarray, "C"]:
        """Return the number of descriptors in each cell."""
        return self.cells @ np.diff(self.ends, prepend=0).astype(np.float32)

    def blocks(self, longest: int) -> list[tuple[int, slice]]:
        """Return blocks of at most `longest` descriptors: the number of an atom, and a part of its share of `order`."""
        starts = [0, *self.ends[:-1].tolist()]
        return [
            (atom, slice(low, min(low + longest, end)))
            for atom, (start, end) in enumerate(zip(starts, self.ends.tolist(), strict=False))
            for low in range(start, end, longest)
        ]

    def sum_cells(self, statistics: Float[Tensor, "A *shape"]) -> Float[Tensor, "C *shape"]:
        """Return the sum of the statistics of each cell's atoms. It is 0 for a cell without descriptors."""
        flat = torch.from_numpy(self.cells).to(statistics.dtype) @ statistics.flatten(1)
        return flat.reshape(-1, *statistics.shape[1:])

    def highest(
        self, words: Int64[np.ndarray, "D n"], values: Float32[np.ndarray, "D n"], size: int
    ) -> Float32[np.ndarray, "C size"]:
        """Return the highest value of each of `size` words in each cell, but at least 0.

        `words` and `values` belong to the descriptors in `order`. All other words of a descriptor have the value 0.
        """
        found = np.zeros(len(self.ends) * size, np.float32)
        np.maximum.at(found, (self.number[:, None] * size + words).ravel(), values.ravel())
        return self.highest_in_cells(found.reshape(-1, size))

    def highest_in_cells(self, by_atom: Float32[np.ndarray, "A E"]) -> Float32[np.ndarray, "C E"]:
        """Return the highest values of each cell's atoms, but at least 0."""
        return np.stack([by_atom[cell > 0].max(0, initial=0) for cell in self.cells])


def group_by_atoms(x: Descriptors) -> Atoms:
    """Return the atoms of the descriptors of one image."""
    numbers = x.cell_numbers()
    sizes = [rows * columns for rows, columns in x.grids]
    code = np.zeros(len(x), np.int64)
    for size, number in zip(sizes, numbers, strict=True):
        code = code * size + number
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    cells = np.zeros((x.cells, len(starts)), np.float32)
    first = np.cumsum([0, *sizes])
    for start, number in zip(first, numbers, strict=False):
        cells[start + number[order[starts]], np.arange(len(starts))] = 1
    return Atoms(order, np.append(starts[1:], len(x)) if len(starts) else starts, cells)


def check_numbers(x: Descriptors, kind: str) -> None:
    """Raise `UserError` if a descriptor contains NaN or an infinity. `kind` is the part that takes the descriptors."""
    if not np.isfinite(x.values).all():
        bad = np.flatnonzero(~np.isfinite(x.values).all(1))
        raise UserError(
            f"{len(bad):,} of {len(x):,} descriptors contain NaN or infinity, the first of them in image "
            f"{x.image[bad[0]] + 1}, so the part {kind} cannot use them; correct the part that computes them"
        )


def check_descriptors(x: Descriptors, width: int, kind: str) -> None:
    """Raise `UserError` unless the part `kind`, fitted to descriptors of `width` numbers, can use the descriptors."""
    if x.values.shape[1] != width:
        raise UserError(
            f"the part {kind} was fitted to descriptors of {width} numbers, but these have {x.values.shape[1]}; "
            f"use the parts with which it was fitted, or fit {kind} again"
        )
    check_numbers(x, kind)


class CodebookEncoder(Encoder):
    """An encoder with a codebook. It encodes one image at a time, so that a row does not depend on other images."""

    codebook: ClassVar[str]  # the learned array whose rows have as many numbers as a descriptor

    @property
    @abstractmethod
    def length(self) -> int:
        """Return the number of values for each cell."""

    def word_numbers(self) -> Int64[np.ndarray, "length"]:
        """Return the number of the visual word to which each value of a cell belongs. Every word has as many values."""
        words = len(self.arrays()[self.codebook])
        return np.repeat(np.arange(words), self.length // words)

    @abstractmethod
    def encode(self, x: Descriptors) -> Float32[np.ndarray, "C length"]:
        """Return the values for each cell of one image. They are 0 for a cell without descriptors."""

    def fit(self, x: Descriptors, targets: Targets, classes: int) -> "CodebookEncoder":
        """Learn the codebook from descriptors, and return the part."""
        for _ in self.fit_steps(x, targets, classes):
            pass
        return self

    def transform(self, x: Descriptors) -> Float32[np.ndarray, "N E"]:
        """Return a row for each image.

        Raise `UserError` if the part has not been fitted, if it was fitted to descriptors of another length, or if a
        descriptor contains NaN or an infinity.
        """
        check_descriptors(x, self.arrays()[self.codebook].shape[1], self.kind)
        rows = [self.encode(each).reshape(-1) for each in x.of_each_image()]
        return np.stack(rows) if rows else np.zeros((0, x.cells * self.length), np.float32)


class WordEncoder(CodebookEncoder):
    """An encoder whose codebook consists of the words that k-means finds."""

    learned: ClassVar[tuple[str, ...]] = ("centres_",)
    codebook: ClassVar[str] = "centres_"
    start: ClassVar[Literal["spread", "near"]] = "spread"  # of k-means
    words: int
    centres_: Float32[np.ndarray, "K d"]

    @property
    def length(self) -> int:
        return len(self.centres_)

    def fit_steps(self, x: Descriptors, targets: Targets, classes: int, seed: int = 0) -> Iterator[FitProgress]:
        """Learn the words from descriptors, and yield after each step."""
        check_numbers(x, self.kind)
        clusters = KMeans(words=self.words, seed=seed, start=self.start)
        yield from clusters.fit_steps(x.values)
        self.centres_ = np.asarray(clusters.centres_, np.float32)


def signed_power(values: Float32[np.ndarray, "*shape"], power: float) -> Float32[np.ndarray, "*shape"]:
    """Return sign(v) |v|^power for each value v."""
    if power == 1:
        return values
    sizes = np.abs(values)
    return np.copysign(np.sqrt(sizes) if power == 0.5 else sizes ** np.float32(power), values)


def unit_length(rows: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Divide each row by its Euclidean length. A row of zeros remains as it is."""
    lengths = np.sqrt(np.einsum("...i,...i->...", rows, rows, dtype=np.float64))[..., None]
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def nearest_words(
    values: Float32[np.ndarray, "D d"], centres: Float32[np.ndarray, "K d"], count: int = 1, block: int = 512
) -> tuple[Int64[np.ndarray, "D count"], Float32[np.ndarray, "D count"]]:
    """Return the `count` nearest centres of each descriptor, and the squared distances to them, in ascending order.

    Of several centres at the same distance, any may be returned.
    """
    middle = centres.mean(0)  # without it, the difference of two large numbers would have few correct digits
    words = torch.from_numpy(centres - middle)
    half = (words**2).sum(1) / 2
    numbers, distances = [], []
    for low in range(0, len(values), block):
        x = torch.from_numpy(values[low : low + block] - middle)
        product = torch.addmm(half, x, words.T, alpha=-1)  # |c|^2 / 2 - x.c = (|x - c|^2 - |x|^2) / 2
        if count == 1:  # NumPy finds the least number several times as fast as PyTorch
            at = torch.from_numpy(product.numpy().argmin(1)[:, None])
            least = product.gather(1, at)
        else:
            least, at = product.topk(count, 1, largest=False)
        numbers.append(at.numpy())
        distances.append((2 * least + (x**2).sum(1, keepdim=True)).clamp_min(0).numpy())
    empty: Sequence[np.ndarray] = [np.zeros((0, count), np.int64)]
    return np.concatenate([*empty, *numbers]), np.concatenate([*(e.astype(np.float32) for e in empty), *distances])
