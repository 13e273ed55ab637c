"""The verb `predict`: names and probabilities for image files, in the order given; bad files are named and left out."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from imclass.app.inputs import Files, in_batches
from imclass.core.classes import best
from imclass.core.contracts import Classifier, Image, Refused
from imclass.core.errors import BadImage
from imclass.core.text import harmless, printable


@dataclass(frozen=True)
class Prediction:
    """One file's best classes with their probabilities, or why it was refused."""

    path: str
    classes: tuple[tuple[str, float], ...] = ()
    refused: Refused | None = None


def predict(
    classifier: Classifier,
    score: Callable[[Classifier, Sequence[Image]], Any],
    files: Files,
    top: int = 5,
    batch: int = 32,
    workers: int = 0,
) -> Iterator[Prediction]:
    """A `Prediction` for each file, in order. `score(classifier, images)` gives log-scores N K; `top` is cut at K."""
    for several in in_batches(files, batch, workers):
        images = [item for _, item in several if not isinstance(item, BadImage)]
        found = iter(best(score(classifier, images), classifier.classes, top) if images else [])
        for name, item in several:
            if isinstance(item, BadImage):
                yield Prediction(name, refused=Refused(name, item.code, item.detail))
                continue
            yield Prediction(name, tuple(next(found)))


def as_trained(classifier: Classifier, images: Sequence[Image]) -> Float[Tensor, "N K"]:
    """Scores of each image, looked at in the classifier's own way."""
    return classifier.classify(images)


def as_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction as a JSON object: `path` and `classes`, or `path` and `refused`."""
    if prediction.refused:
        return {
            "path": prediction.path,
            "refused": {"code": prediction.refused.code, "detail": prediction.refused.detail},
        }
    return {"path": prediction.path, "classes": [{"class": c, "probability": p} for c, p in prediction.classes]}


def as_csv(prediction: Prediction) -> str:
    """Lines `path,rank,class,probability`; what a spreadsheet would run as a formula gets a leading apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)  # by need, a lone \r goes unquoted
    for rank, (name, probability) in enumerate(prediction.classes, 1):
        writer.writerow([harmless(prediction.path), rank, harmless(name), round(probability, 6)])
    return text.getvalue()


def as_table(prediction: Prediction) -> str:
    """The path, then its classes: "  98.31 %  seven"."""
    lines = [f"  {100 * p:6.2f} %  {printable(name)}" for name, p in prediction.classes]
    return "\n".join([printable(prediction.path), *lines])
