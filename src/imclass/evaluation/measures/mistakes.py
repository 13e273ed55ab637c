"""The images that a model assigned to the wrong class."""
# Tested in tests/app/report/test_mistakes.py

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imclass.core.contracts import Evaluation
from imclass.core.targets import labels_of
from imclass.evaluation.measures.single_label import posterior_chunks, predictions, ranks


@dataclass(frozen=True)
class WrongImage:
    """An image with a wrong prediction."""

    id: int
    image: str  # name of the image
    true: str
    predicted: str
    probability: float  # of the predicted class
    probability_of_true: float
    rank: int  # of the true class, at least 2


def wrong_images(evaluation: Evaluation, images: Sequence[str]) -> list[WrongImage]:
    """Return the images with a wrong prediction, most confident mistake first."""
    labels, predicted = labels_of(evaluation.targets, "--mistakes"), predictions(evaluation.scores)
    places = ranks(evaluation.scores, labels)
    sure, right = np.empty(len(labels)), np.empty(len(labels))
    for part, chances in posterior_chunks(evaluation.scores):
        each = np.arange(len(chances))
        sure[part], right[part] = chances[each, predicted[part]], chances[each, labels[part]]
    wrong = np.flatnonzero(predicted != labels)
    return [
        WrongImage(
            int(evaluation.ids[i]),
            images[i],
            evaluation.classes[labels[i]],
            evaluation.classes[predicted[i]],
            float(sure[i]),
            float(right[i]),
            int(places[i]),
        )
        for i in wrong[np.argsort(-sure[wrong], kind="stable")].tolist()
    ]
