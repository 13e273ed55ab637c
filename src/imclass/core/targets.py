"""Targets of images: one class per image, any number of classes per image, or class fractions.

Targets contain NumPy arrays in a data set and tensors in a loss.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32, Int8, Int64
from torch import Tensor

from imclass.core.errors import UserError

Link: TypeAlias = Literal["softmax", "sigmoid"]  # turns scores into probabilities, jointly or per class


@dataclass(frozen=True, eq=False)
class OneOf:
    """One class per image. `labels` are indices into the list of classes."""

    labels: Int64[np.ndarray, "N"] | Int64[Tensor, "N"]

    link: ClassVar[Link] = "softmax"
    counted: ClassVar[str] = "top1"  # the measure for which `count_correct` counts images

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Any) -> "OneOf":
        """Return the targets of the images at these positions."""
        return OneOf(self.labels[chosen])

    def renumber(self, new_numbers: Int64[np.ndarray, "K"], classes: int) -> "OneOf":
        """Return the targets after renumbering: class k becomes class `new_numbers[k]` of `classes` classes.

        The number of a class without images may be -1.
        """
        return OneOf(new_numbers[self.labels])

    def numpy(self) -> Int64[np.ndarray, "N"]:
        """Return the labels as a NumPy array."""
        return np.asarray(self.labels)

    def on_device(self, device: str | torch.device) -> "OneOf":
        """Return the targets with the labels as a tensor on `device`, for use in a loss."""
        return OneOf(torch.as_tensor(self.labels).to(device))

    def counts(self, classes: int) -> Int64[np.ndarray, "K"]:
        """Return the number of images in each class. K is `classes`."""
        return np.bincount(self.numpy(), minlength=classes).astype(np.int64)

    def by_class(self, classes: int) -> list[Int64[np.ndarray, "_"]]:
        """Return, for each of the `classes` classes, the positions of its images."""
        order = np.argsort(self.numpy(), kind="stable")
        return np.split(order, np.searchsorted(self.numpy()[order], np.arange(1, classes)))

    def strata(self, classes: int) -> list[Int64[np.ndarray, "_"]]:
        """Return, for each class, the positions of its images. A split takes the same fraction of every class."""
        return self.by_class(classes)

    def label_texts(self, classes: tuple[str, ...]) -> list[str]:
        """Return the name of each image's class."""
        return [classes[label] for label in self.numpy()]

    def image_weights(self, class_weights: Float[Tensor, "K"]) -> Float[Tensor, "N"]:
        """Return the weight of each image's class. Labels and weights must be on the same device."""
        return class_weights[torch.as_tensor(self.labels)]

    def count_correct(self, scores: Float[Tensor, "N K"]) -> int:
        """Count the images whose label has the highest score. Labels and scores must be on the same device."""
        return int(scores.argmax(1).eq(torch.as_tensor(self.labels)).sum())


@dataclass(frozen=True, eq=False)
class AnyOf:
    """Any number of classes per image.

    An entry of `marks` is 1 if the image has the class, 0 if not, and -1 if the image is not annotated for it.
    """

    marks: Int8[np.ndarray, "N K"] | Int8[Tensor, "N K"]

    link: ClassVar[Link] = "sigmoid"
    counted: ClassVar[str] = "exact"  # the measure for which `count_correct` counts images

    def __len__(self) -> int:
        return len(self.marks)

    def __getitem__(self, chosen: Any) -> "AnyOf":
        """Return the targets of the images at these positions."""
        return AnyOf(self.marks[chosen])

    def renumber(self, new_numbers: Int64[np.ndarray, "K"], classes: int) -> "AnyOf":
        """Return the targets after renumbering: class k becomes class `new_numbers[k]` of `classes` classes.

        If several classes become one, its entry for an image is the largest of theirs. The entries of new classes
        whose indices are not in `new_numbers` are -1. A class whose new number is -1 is left out.
        """
        marks = np.full((len(self), classes), -1, np.int8)
        for k, new in enumerate(new_numbers.tolist()):
            if new >= 0:
                np.maximum(marks[:, new], self.numpy()[:, k], out=marks[:, new])
        return AnyOf(marks)

    def numpy(self) -> Int8[np.ndarray, "N K"]:
        """Return `marks` as a NumPy array."""
        return np.asarray(self.marks)

    def on_device(self, device: str | torch.device) -> "AnyOf":
        """Return the targets with `marks` as a tensor on `device`, for use in a loss."""
        return AnyOf(torch.as_tensor(self.marks).to(device))

    def counts(self, classes: int) -> Int64[np.ndarray, "K"]:
        """Return the number of images in each class. K is `classes`."""
        return np.count_nonzero(self.numpy() == 1, axis=0).astype(np.int64)

    def by_class(self, classes: int) -> list[Int64[np.ndarray, "_"]]:
        """Return, for each of the `classes` classes, the positions of its images."""
        return [np.flatnonzero(column == 1) for column in self.numpy().T]

    def strata(self, classes: int) -> list[Int64[np.ndarray, "_"]]:
        """Return the positions of all images as a single group, because an image may have several classes or none."""
        return [np.arange(len(self))]

    def label_texts(self, classes: tuple[str, ...]) -> list[str]:
        """Return the names of each image's classes, separated by NUL.

        Classes for which the image is not annotated are included, each preceded by a question mark.
        """
        prefixes = {1: "", -1: "?"}
        rows = self.numpy().tolist()
        return ["\0".join(prefixes[m] + c for m, c in zip(row, classes, strict=True) if m) for row in rows]

    def count_correct(self, scores: Float[Tensor, "N K"]) -> int:
        """Return the number of images for which every annotated class is predicted correctly.

        A class is predicted if its probability is at least 0.5.
        """
        marks = torch.as_tensor(self.marks)
        return int(((scores >= 0).eq(marks == 1) | (marks < 0)).all(1).sum())


@dataclass(frozen=True, eq=False)
class Soft:
    """Class fractions for each image, as produced by mixing images. Each row of `rows` sums to 1."""

    rows: Float32[np.ndarray, "N K"] | Float32[Tensor, "N K"]

    link: ClassVar[Link] = "softmax"
    counted: ClassVar[str] = "top1"  # the measure for which `count_correct` counts images

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: Any) -> "Soft":
        """Return the targets of the images at these positions."""
        return Soft(self.rows[chosen])

    def renumber(self, new_numbers: Int64[np.ndarray, "K"], classes: int) -> "Soft":
        """Return the targets after renumbering: class k becomes class `new_numbers[k]` of `classes` classes.

        If several classes become one, their fractions are added.
        """
        rows = np.zeros((len(self), classes), np.float32)
        for k, new in enumerate(new_numbers.tolist()):
            rows[:, new] += self.numpy()[:, k]
        return Soft(rows)

    def numpy(self) -> Float32[np.ndarray, "N K"]:
        """Return the class fractions as a NumPy array."""
        return np.asarray(self.rows)

    def on_device(self, device: str | torch.device) -> "Soft":
        """Return the targets with the class fractions as a tensor on `device`, for use in a loss."""
        return Soft(torch.as_tensor(self.rows).to(device))

    def image_weights(self, class_weights: Float[Tensor, "K"]) -> Float[Tensor, "N"]:
        """Return the mean weight of each image's classes, in proportion to their fractions.

        Fractions and weights must be on the same device.
        """
        return torch.as_tensor(self.rows).to(class_weights.dtype) @ class_weights

    def count_correct(self, scores: Float[Tensor, "N K"]) -> int:
        """Return the number of images for which the class with the largest fraction has the highest score."""
        return int(scores.argmax(1).eq(torch.as_tensor(self.rows).argmax(1)).sum())


Targets: TypeAlias = OneOf | AnyOf  # of a data set
StepTargets: TypeAlias = OneOf | AnyOf | Soft  # of a training step, in which mixing produces soft targets


def labels_of(targets: Targets, what: str, fix: str = "drop the option") -> Int64[np.ndarray, "N"]:
    """Return the label of each image. If images may have several labels, raise a `UserError` that names `what`."""
    if not isinstance(targets, OneOf):
        raise UserError(f"{what} needs images with one label each, but these may have several; {fix}")
    return targets.numpy()


def marks_of(targets: Targets, what: str, fix: str = "drop the option") -> Int8[np.ndarray, "N K"]:
    """Return the `marks` of all images. If each image has one label, raise a `UserError` that names `what`."""
    if not isinstance(targets, AnyOf):
        raise UserError(f"{what} needs images that may have several labels, but these have one each; {fix}")
    return targets.numpy()
