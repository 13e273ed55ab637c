"""Prediction of the classes of images, in order. An image that cannot be used does not affect the others."""

import contextlib
import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from imclass.core.contracts import Classifier, Image, Refused
from imclass.core.errors import BadImage, UserError
from imclass.core.text import printable_text
from imclass.models.scores import check_finite
from imclass.models.thresholds import name_classes
from imclass.serving.inputs import batch_items, decode_images


@dataclass(frozen=True)
class Prediction:
    """The predicted classes of an image and their probabilities, most probable first, or the reason for a refusal."""

    name: str
    classes: tuple[tuple[str, float], ...] = ()
    refused: Refused | None = None

    def __repr__(self) -> str:
        """Return the image's name with its classes or the reason for a refusal, on one line."""
        if self.refused:
            return f"Prediction({self.name!r}, refused: {printable_text(self.refused.detail)} ({self.refused.code}))"
        best = ", ".join(f"{name} {100 * p:.2f}%" for name, p in self.classes) or "no class"
        return f"Prediction({self.name!r}: {best})"

    def _repr_html_(self) -> str:
        """Return an HTML table of the classes, for display in notebooks."""
        head = html.escape(printable_text(self.name))
        if self.refused:
            return f"<p>{head}: refused: {html.escape(printable_text(self.refused.detail))}</p>"
        cells = [(html.escape(printable_text(name)), f"{100 * p:.2f}%") for name, p in self.classes]
        rows = "".join(f"<tr><td>{name}</td><td>{share}</td></tr>" for name, share in cells)
        rows = rows or "<tr><td>no class</td></tr>"
        return f"<table><caption>{head}</caption>{rows}</table>"


def predict(
    classifier: Classifier,
    images: Iterable[tuple[str, Any]],
    top: int | None = None,
    batch: int = 32,
    workers: int = 0,
    max_pixels: int | None = None,
) -> Iterator[Prediction]:
    """Yield a `Prediction` for each named image, in order, with at most `top` classes, the most probable first.

    By default, a prediction has at most five classes. If images may have several labels, it has all classes that the
    model predicts, possibly none. An image is the bytes or the path of an image file, a uint8 array (H W C) with 1 or 3
    channels, or a Pillow image. Images are taken from `images` when needed and decoded in `workers` threads. An image
    that cannot be used is refused. Raise `UserError` for an invalid `top`, `batch` or `workers` before the first image
    is read.
    """
    if top is not None:
        check_number("top", top, 1, "a whole number of classes, at least 1")
        top = int(top)
    check_number("batch", batch, 1, "a whole number of images, at least 1")
    check_number("workers", workers, 0, "a whole number of threads, 0 or more")
    return iterate_predictions(classifier, images, top, int(batch), int(workers), max_pixels)


def check_number(name: str, value: Any, minimum: int, wanted: str) -> None:
    """Raise `UserError` if a value is not a Python or NumPy integer, or is less than `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise UserError(f"{name} is {value!r}; it must be {wanted}")


def iterate_predictions(
    classifier: Classifier,
    images: Iterable[tuple[str, Any]],
    top: int | None,
    batch: int,
    workers: int,
    max_pixels: int | None,
) -> Iterator[Prediction]:
    """Yield the predictions for `predict`, which has already checked the arguments."""
    with contextlib.closing(decode_images(images, workers, max_pixels)) as decoded:
        for items in batch_items(decoded, batch):
            kept = [item for _, item in items if not isinstance(item, BadImage)]
            outcomes = iter(classify_images(classifier, kept, top))
            for name, item in items:
                outcome = item if isinstance(item, BadImage) else next(outcomes)
                if isinstance(outcome, BadImage):
                    yield Prediction(name, refused=Refused(name, outcome.code, outcome.detail))
                else:
                    yield Prediction(name, outcome)


Outcome: TypeAlias = tuple[tuple[str, float], ...] | BadImage


def classify_images(classifier: Classifier, images: Sequence[Image], top: int | None) -> list[Outcome]:
    """Return the predicted classes of each image, or a `BadImage` for an image that is too small for the classifier.

    If a batch fails, its images are classified one at a time to find those that cause the failure.
    """
    if not images:
        return []
    try:
        scores = classifier.classify(images)
    except UserError as error:
        if len(images) == 1:
            return [BadImage("unfit", "", str(error))]
        return [outcome for image in images for outcome in classify_images(classifier, [image], top)]
    check_finite(scores)
    return [tuple(row) for row in name_classes(classifier, scores, top)]
