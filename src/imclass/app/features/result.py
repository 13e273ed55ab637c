"""The features of images, with methods that write files and draw maps."""
# Tested in tests/app/features/test_extract.py

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from imclass.app.features.files import write_features
from imclass.app.features.projection import Method, project
from imclass.core.contracts import Refused
from imclass.core.targets import OneOf, Targets, labels_of
from imclass.core.text import list_names


@dataclass(frozen=True, eq=False)
class Features:
    """The features of N images, with the names and labels of these images.

    `features` is a memory-mapped array, so it may be larger than the main memory. `targets` is None if the images
    have no labels.
    """

    layer: str
    features: Float[np.ndarray, "N ..."] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    ids: Int64[np.ndarray, "N"] = field(repr=False)  # hashes of the names, as in score files
    targets: Targets | None
    classes: tuple[str, ...]
    refused: tuple[Refused, ...]
    record: Mapping[str, Any]  # plain JSON: the model, its digest, the options and the images

    def __repr__(self) -> str:
        """Return the layer, the shape and the classes on one line, without the numbers."""
        shape = " x ".join(map(str, self.features.shape))
        classes = f"{len(self.classes):,} classes: {list_names(self.classes, 3)}" if self.classes else "no labels"
        return f"Features({self.layer}: {shape}, {len(self.refused):,} refused; {classes})"

    @property
    def labels(self) -> Int64[np.ndarray, "N"]:
        """Return the index of each image's class, or -1 for images without labels.

        Raise `UserError` if an image may have several labels.
        """
        if self.targets is None:
            return np.full(len(self.names), -1, np.int64)
        return labels_of(self.targets, "an array of labels", "use `targets`")

    def save(self, path: str | Path) -> None:
        """Write the features to a .npy, .npz or .csv file."""
        write_features(self, Path(path).expanduser())

    def map(self, path: str | Path, method: Method = "pca") -> None:
        """Draw each image as a point in a plane, coloured by class, and write a PNG. `method` is pca or tsne."""
        from imclass.app.draw.feature_map import feature_map_png

        points = project(self.features, method)
        labels = self.targets.numpy()[points.positions] if isinstance(self.targets, OneOf) else None
        feature_map_png(points, labels, self.classes, Path(path).expanduser(), f"{self.layer} features")
