"""The input of a network's last layer, as the features of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np
from jaxtyping import Float32

from imclass.core.contracts import Image, NetworkBacked
from imclass.core.errors import UserError
from imclass.models.views.embedding import Embedding
from imclass.pipelines.part import Feature

LAYER: Final = "penultimate"


@dataclass
class NetworkFeatures(Feature):
    """The input of the network's last layer, for the single view that the network's preprocessing produces."""

    kind: ClassVar[str] = "network-features"
    layer: Literal["penultimate"] = LAYER

    def transform(self, x: Sequence[Image]) -> Float32[np.ndarray, "N D"]:
        """Return the feature vectors of images of any size."""
        return Embedding(self.network)(x)

    @property
    def network(self) -> NetworkBacked:
        """Return the only network in the part."""
        networks = [network for member in self.members().values() for network in member.networks().values()]
        if len(networks) != 1:
            found = len(networks)
            raise UserError(f"the part {self.kind} needs one network, but has {found}; set one with set_members()")
        return networks[0]


PARTS = {"network-features": NetworkFeatures}
