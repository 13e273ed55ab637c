"""What the last layer of a network sees of an image, as a row of numbers."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from imclass.core.contracts import Image, NetworkBacked
from imclass.core.errors import UserError
from imclass.models.layers.heads import Penultimate
from imclass.models.views.batches import split_by_bytes, to_batch
from imclass.pipelines.part import Feature

LAYER: Final = "penultimate"


@dataclass
class NetworkFeatures(Feature):
    """The penultimate vector of a network that the part holds, of the one view that its preprocess gives."""

    kind: ClassVar[str] = "network-features"
    layer: Literal["penultimate"] = LAYER

    def transform(self, x: Sequence[Image]) -> Float32[np.ndarray, "N D"]:
        """Return the vectors of images of any sizes."""
        embedded = without_last_layer(self.network)
        views = ((i, embedded.preprocess(image)) for i, image in enumerate(x))
        rows = [embedded.scores(to_batch(np.stack(several))) for _, several in split_by_bytes(views)]
        return torch.cat(rows).numpy()

    @property
    def network(self) -> NetworkBacked:
        """The network of the classifier that the part holds."""
        networks = [network for member in self.members().values() for network in member.networks().values()]
        if len(networks) != 1:
            raise UserError(f"the part {self.kind} needs one network and has {len(networks)}; give it one with hold()")
        return networks[0]


def without_last_layer(classifier: NetworkBacked) -> NetworkBacked:
    """Return a copy whose engine gives the penultimate vectors of views, float32 on the CPU, as their scores."""
    network = copy.deepcopy(classifier.network)
    network.head = nn.Sequential(Penultimate(network.head))
    return classifier.with_network(network)


PARTS = {"network-features": NetworkFeatures}
