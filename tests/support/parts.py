"""A plugin with parts of a pipeline: blocks of pixels, colour histogram, scores of a network, nearest mean."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imclass.pipelines.descriptors import Descriptors, join_descriptors
from imclass.pipelines.part import Feature, PatchExtractor, Scorer


@dataclass
class Blocks(PatchExtractor):
    """The mean colour of each block of `side` pixels that is wholly in the image."""

    kind: ClassVar[str] = "blocks"
    side: int = 4

    def of_image(self, image: Any) -> Descriptors:
        rows, columns = image.shape[0] // self.side, image.shape[1] // self.side
        whole = np.asarray(image, np.float32)[: rows * self.side, : columns * self.side]
        values = whole.reshape(rows, self.side, columns, self.side, -1).mean((1, 3)).reshape(rows * columns, -1)
        y, x = np.divmod(np.arange(rows * columns), max(columns, 1))
        return Descriptors(
            values=values,
            positions=((np.stack([x, y], 1) + 0.5) * self.side).astype(np.float32),
            scales=np.full(len(values), self.side, np.float32),
            image=np.zeros(len(values), np.int64),
            sizes=np.array([image.shape[:2]], np.int64),
        )

    def transform(self, x: Any) -> Descriptors:
        return join_descriptors([self.of_image(image) for image in x])


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


PARTS = {"blocks": Blocks, "colours": Colours, "network-scores": NetworkScores, "nearest-mean": NearestMean}
