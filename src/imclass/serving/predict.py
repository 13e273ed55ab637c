"""Names and probabilities for image files, in the order given; bad files are named and left out."""

from collections.abc import Iterator
from dataclasses import dataclass

from imclass.core.contracts import Classifier, Refused
from imclass.core.errors import BadImage
from imclass.models.thresholds import answer
from imclass.serving.inputs import Files, in_batches


@dataclass(frozen=True)
class Prediction:
    """One file's best classes with their probabilities, or why it was refused."""

    path: str
    classes: tuple[tuple[str, float], ...] = ()
    refused: Refused | None = None


def predict(
    classifier: Classifier, files: Files, top: int | None = None, batch: int = 32, workers: int = 0
) -> Iterator[Prediction]:
    """Yield a `Prediction` for each file, in order: its `top` classes, or all K where there are fewer.

    Without a number they are five, or those that the image has where it may have several.
    """
    for several in in_batches(files, batch, workers):
        images = [item for _, item in several if not isinstance(item, BadImage)]
        found = iter(answer(classifier, classifier.classify(images), top) if images else [])
        for name, item in several:
            if isinstance(item, BadImage):
                yield Prediction(name, refused=Refused(name, item.code, item.detail))
                continue
            yield Prediction(name, tuple(next(found)))
