"""Names and probabilities for images of any kind, in the order given. A bad image is named, and the rest goes on."""

import contextlib
import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from imclass.core.contracts import Classifier, Image, Refused
from imclass.core.errors import BadImage, UserError
from imclass.core.text import printable_text
from imclass.models.thresholds import name_classes
from imclass.serving.inputs import batch_items, decode_images


@dataclass(frozen=True)
class Prediction:
    """An image's best classes, the most probable first, with their probabilities; or why it was refused."""

    name: str
    classes: tuple[tuple[str, float], ...] = ()
    refused: Refused | None = None

    def __repr__(self) -> str:
        """Return the image's name and its classes on a line."""
        if self.refused:
            return f"Prediction({self.name!r}, refused: {printable_text(self.refused.detail)} ({self.refused.code}))"
        found = ", ".join(f"{name} {100 * p:.2f} %" for name, p in self.classes) or "no class"
        return f"Prediction({self.name!r}: {found})"

    def _repr_html_(self) -> str:
        """Return a table of the classes, as a notebook shows it."""
        head = html.escape(printable_text(self.name))
        if self.refused:
            return f"<p>{head}: refused: {html.escape(printable_text(self.refused.detail))}</p>"
        cells = [(html.escape(printable_text(name)), f"{100 * p:.2f} %") for name, p in self.classes]
        rows = (
            "".join(f"<tr><td>{name}</td><td>{share}</td></tr>" for name, share in cells)
            or "<tr><td>no class</td></tr>"
        )
        return f"<table><caption>{head}</caption>{rows}</table>"


def predict(
    classifier: Classifier,
    images: Iterable[tuple[str, Any]],
    top: int | None = None,
    batch: int = 32,
    workers: int = 0,
    most_pixels: int | None = None,
) -> Iterator[Prediction]:
    """Yield a `Prediction` for each named image, in order: its `top` classes, or all K where there are fewer.

    Without a number they are five, or those that the image has where it may have several, possibly none.
    An image is the bytes of a file, the path of one, a uint8 array H W C with C of 1 or 3, or a Pillow image. They are
    taken from `images` as they are needed, and decoded in `workers` threads. One that cannot be used is
    refused. Raise `UserError`, at once, for a `top`, `batch` or `workers` that is no such number.
    """
    if top is not None:
        check_number("top", top, 1, "a whole number of classes, at least 1")
    check_number("batch", batch, 1, "a whole number of images, at least 1")
    check_number("workers", workers, 0, "a whole number of threads, 0 or more")
    return iterate_predictions(
        classifier, images, top if top is None else int(top), int(batch), int(workers), most_pixels
    )


def check_number(name: str, value: Any, least: int, wanted: str) -> None:
    """Raise `UserError` unless a value is a whole number of at least `least`; NumPy's are."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UserError(f"{name} is {value!r}; it must be {wanted}")


def iterate_predictions(
    classifier: Classifier,
    images: Iterable[tuple[str, Any]],
    top: int | None,
    batch: int,
    workers: int,
    most_pixels: int | None,
) -> Iterator[Prediction]:
    """Yield what `predict` does, of arguments that have been checked."""
    with contextlib.closing(decode_images(images, workers, most_pixels)) as items:
        for several in batch_items(items, batch):
            kept = [item for _, item in several if not isinstance(item, BadImage)]
            found = iter(classify_images(classifier, kept, top))
            for name, item in several:
                answer = item if isinstance(item, BadImage) else next(found)
                if isinstance(answer, BadImage):
                    yield Prediction(name, refused=Refused(name, answer.code, answer.detail))
                else:
                    yield Prediction(name, answer)


Outcome: TypeAlias = tuple[tuple[str, float], ...] | BadImage


def classify_images(classifier: Classifier, images: Sequence[Image], top: int | None) -> list[Outcome]:
    """Return the classes of each image. One that the classifier cannot look at, as too small, is a `BadImage`."""
    if not images:
        return []
    try:
        scores = classifier.classify(images)
    except UserError as error:
        if len(images) == 1:
            return [BadImage("unfit", "", str(error))]
        return [answer for image in images for answer in classify_images(classifier, [image], top)]
    if not torch.isfinite(scores).all():
        raise UserError(
            "the model's scores are not finite: its training diverged or its weights are damaged; train again with a "
            "lower learning rate, or take another model"
        )
    return [tuple(row) for row in name_classes(classifier, scores, top)]
