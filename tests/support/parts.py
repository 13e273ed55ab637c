"""A plugin with parts of a pipeline: colour histogram, scores of a network, nearest mean."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imclass.pipelines.part import Feature, Scorer


@dataclass
class Colours(Feature):
    """Shares of an image's values in `bins` equal ranges, divided by their spread over the training images."""

    kind: ClassVar[str] = "colours"
    learned: ClassVar[tuple[str, ...]] = ("spread_",)
    bins: int = 4

    def shares(self, x: Any) -> np.ndarray:
        rows = [np.histogram(image, self.bins, (0, 256))[0] / image.size for image in x]
        return np.array(rows, np.float64)

    def fit(self, x: Any, targets: Any, classes: int) -> "Colours":
        self.spread_ = self.shares(x).std(0) + 1e-3
        return self

    def transform(self, x: Any) -> np.ndarray:
        return self.shares(x) / self.spread_


@dataclass
class NetworkScores(Feature):
    """Scores of a network that the part holds."""

    kind: ClassVar[str] = "network-scores"

    def transform(self, x: Any) -> np.ndarray:
        return self.members()["eyes"].classify(x).numpy()


@dataclass
class NearestMean(Scorer):
    """Negative squared distance to the mean of each class's training images, divided by a temperature."""

    kind: ClassVar[str] = "nearest-mean"
    learned: ClassVar[tuple[str, ...]] = ("means_",)
    link = "softmax"
    temperature: float = 1.0

    def fit(self, x: Any, targets: Any, classes: int) -> "NearestMean":
        labels = targets.numpy()
        self.means_ = np.stack([x[labels == k].mean(0) for k in range(classes)])
        return self

    def scores(self, x: Any) -> np.ndarray:
        return -((x[:, None] - self.means_) ** 2).sum(2) / self.temperature


PARTS = {"colours": Colours, "network-scores": NetworkScores, "nearest-mean": NearestMean}
