"""Explanation of a network's answers, image by image."""
# Tested in tests/app/verbs/test_explain.py

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imclass.app.draw.class_map import class_map_png
from imclass.app.features.extract import feature_options, open_network
from imclass.core.classes import find_class
from imclass.core.contracts import Image, Refused
from imclass.core.errors import BadImage, UserError
from imclass.core.text import printable_text
from imclass.evaluation.explanation import ClassMap, Explanation, explanations
from imclass.evaluation.request import Progress, parse_scales
from imclass.models.classifier import NetworkClassifier
from imclass.models.scores import check_finite, posterior
from imclass.serving.inputs import decode_images
from imclass.store.context import Context


@dataclass(frozen=True)
class Explained:
    """The maps of a class over an image, one for each scale, or the reason why the image was refused.

    `probability` is that of the class for the image as `predict` classifies it.
    """

    name: str
    class_name: str = ""
    probability: float = 0.0
    maps: tuple[ClassMap, ...] = ()
    image: Image | None = None
    refused: Refused | None = None

    def __repr__(self) -> str:
        """Return the image's name with the class and its highest probability at each scale, or why it was refused."""
        if self.refused:
            return f"Explained({self.name!r}, refused: {printable_text(self.refused.detail)} ({self.refused.code}))"
        return f"Explained({self.name!r}: {self.summary})"

    @property
    def summary(self) -> str:
        """Return the class, its probability, and the highest value of each map, as text."""
        highest = ", ".join(f"at most {100 * each.highest:.2f}% at {each.scale} pixels" for each in self.maps)
        return f"{printable_text(self.class_name)} {100 * self.probability:.2f}%, {highest}"

    def save(self, path: str | Path) -> None:
        """Draw the maps over the image as a PNG. Raise `UserError` if the image was refused."""
        if self.image is None:
            raise UserError(f"{printable_text(self.name)} was refused, so there is nothing to draw")
        class_map_png(self.image, self.maps, f"{self.class_name}: {100 * self.probability:.2f}%", Path(path))


@dataclass(frozen=True)
class Explainer:
    """A network with the method, the class and the scales of its explanations, all checked."""

    classifier: NetworkClassifier
    method: Explanation
    label: int | None  # None: the most probable class of each image
    scales: tuple[int, ...]
    workers: int  # threads that decode images

    def explain(self, images: Iterable[tuple[str, Any]], max_pixels: int | None) -> Iterator[Explained]:
        """Yield the explanation of each named image, in order, or the reason why an image is refused."""
        with closing(decode_images(images, self.workers, max_pixels)) as decoded:
            for name, image in decoded:
                try:
                    if isinstance(image, BadImage):
                        raise image
                    yield self.explain_image(name, image)
                except BadImage as error:
                    yield Explained(name, refused=Refused(name, error.code, error.detail))

    def explain_image(self, name: str, image: Image) -> Explained:
        """Return the explanation of an image. Raise `BadImage` if it is too small for the network."""
        try:
            scores = self.classifier.classify([image])
        except UserError as error:
            raise BadImage("unfit", "", str(error)) from None
        check_finite(scores)
        label = int(scores.argmax()) if self.label is None else self.label
        maps = self.method(self.classifier, image, label, self.scales)
        probability = float(posterior(scores, self.classifier.link)[0, label])
        return Explained(name, self.classifier.classes[label], probability, maps, image)


def prepare_explainer(
    model: Any,
    class_: str | None,
    method: str,
    scales: str | Sequence[int] | None,
    workers: int,
    device: str,
    context: Context,
    progress: Progress,
) -> Explainer:
    """Load the model and check the options. Raise `UserError` for invalid ones, before any image is opened."""
    options = feature_options(None, None, mirror=False, normalise=False, precision="fp32", workers=workers)
    found: Explanation = explanations(context)[method]
    sides = () if scales is None else parse_scales(scales)
    classifier = open_network(model, options, device, context, progress)
    label = None if class_ is None else find_class(class_, classifier.classes, "--class")
    found.check(classifier, sides)
    return Explainer(classifier, found, label, sides, workers)
