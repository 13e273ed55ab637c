"""A small data set of random pictures, and a classifier whose scores are linear in their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from imclass.core.contracts import Origin
from imclass.core.errors import BadImage
from imclass.core.preprocess import Preprocess
from imclass.core.targets import OneOf
from imclass.models.views.batches import to_batch
from tests.support.stubs import StubNetwork

SIZE = 8
LARGER = Preprocess(size=SIZE, scale=10)
ORIGIN = Origin("pictures", "some/folder", "folders")
CLASSES = ("cat", "dog", "eel", "fox", "gnu", "hen", "ibis")


@dataclass
class Pictures:
    """A small data set; images at `bad` positions are refused, and `array` is set if `in_memory`."""

    images: list[np.ndarray]
    labels: np.ndarray
    classes: tuple[str, ...] = CLASSES
    bad: frozenset[int] = frozenset()
    in_memory: bool = False
    splits: tuple[str, ...] = ("test",)
    split: str = "test"
    origin: Origin = ORIGIN
    ids: np.ndarray = field(init=False)
    array: np.ndarray | None = field(init=False)
    opened: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.ids = np.arange(len(self.images)) + 100
        self.array = np.stack(self.images) if self.in_memory else None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def targets(self) -> OneOf:
        return OneOf(self.labels)

    def __getitem__(self, i: int) -> np.ndarray:
        self.opened.append(i)
        if i in self.bad:
            raise BadImage("truncated", self.name(i), "the file ends too early")
        return self.images[i]

    def name(self, i: int) -> str:
        return f"some/folder/{i}.png"

    def contents(self) -> np.ndarray:
        return np.arange(len(self.images), dtype=np.uint64)

    def digest(self) -> str:
        return "0" * 64


@dataclass
class Linear(StubNetwork):
    """A classifier whose scores are linear in the pixels."""

    classes: tuple[str, ...] = CLASSES
    preprocess: Preprocess = LARGER
    constant: float | None = None

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        if self.constant is not None:
            return torch.full((len(images), len(self.classes)), self.constant)
        weights = np.random.default_rng(7).normal(size=(images[0].numel(), len(CLASSES))).astype(np.float32) / 500
        columns = [CLASSES.index(name) for name in self.classes]  # a model with permuted classes has permuted scores
        # Float64, so that rounding does not depend on the batch.
        return (images.flatten(1).double() @ torch.from_numpy(weights).double()).float()[:, columns]

    def classify(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        if not len(images):
            return torch.zeros(0, len(self.classes))
        return self.scores(to_batch(np.stack([self.preprocess(image) for image in images])))

    def dense(self, images: torch.Tensor) -> torch.Tensor:
        return self.scores(images[..., :SIZE, :SIZE])[..., None, None]


def pictures(n: int = 50, size: tuple[int, int] | None = None, **fields: Any) -> Pictures:
    random = np.random.default_rng(3)
    sides = [size or tuple(random.integers(9, 30, 2)) for _ in range(n)]
    images = [random.integers(0, 256, (*side, 3), np.uint8) for side in sides]
    return Pictures(images, random.integers(0, len(CLASSES), n), **fields)
