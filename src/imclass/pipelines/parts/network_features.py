"""The input of a network's last layer, as the features of an image.

With `scales`, `mirror` and `normalise`, it is the image descriptor of Simonyan and Zisserman, "Very deep convolutional
networks for large-scale image recognition" (ICLR 2015), appendix B. There, three scales were averaged for PASCAL VOC
(4,096 numbers) and joined for Caltech (12,288 numbers).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np
from jaxtyping import Float32

from imclass.core.contracts import Classifier, Image, NetworkBacked
from imclass.core.errors import UserError
from imclass.models.views.embedding import Combine, Embedding
from imclass.models.views.scales import check_scales
from imclass.pipelines.part import Feature, Flow

LAYER: Final = "penultimate"


@dataclass
class NetworkFeatures(Feature):
    """The input of the network's last layer.

    Without `scales`, it is that for the single view that the network's preprocessing produces.
    """

    kind: ClassVar[str] = "network-features"
    needs_network: ClassVar[bool] = True
    takes: ClassVar[tuple[Flow, ...]] = ("images",)
    layer: Literal["penultimate"] = LAYER
    scales: tuple[int, ...] = ()  # lengths in pixels of the shorter side of the whole image; empty: a single view
    combine: Combine = "average"  # average the vectors of the scales, or stack them
    mirror: bool = False  # average over the image and its mirror image
    normalise: bool = False  # finally divide the vector by its Euclidean length; a vector of zeros stays unchanged

    def set_members(self, members: Mapping[str, Classifier]) -> None:
        """Set the classifier in the part. Raise `UserError` if the scales are too small for its network."""
        for member in members.values():
            for network in member.networks().values():
                check_scales(f"the part {self.kind}", self.scales, network.preprocess)
        super().set_members(members)

    def transform(self, x: Sequence[Image]) -> Float32[np.ndarray, "N D"]:
        """Return the feature vectors of images of any size.

        Each image passes through the network alone. The vectors of several images that pass together would differ in
        the last bits from those of single images.
        """
        embed = self.embedding()
        if not len(x):
            return np.zeros((0, embed.width), np.float32)
        return np.concatenate([embed([image]) for image in x])

    def embedding(self) -> Embedding:
        """Return the function that computes the features. It is kept, because it contains a copy of the network."""
        network = self.network
        key = (id(network), self.scales, self.mirror, self.normalise, self.combine)
        last, found = vars(self).get("kept", (None, None))
        if found is None or last != key:
            found = Embedding(network, self.scales, self.mirror, self.normalise, self.combine)
            self.kept = key, found
        return found

    @property
    def network(self) -> NetworkBacked:
        """Return the only network in the part."""
        networks = [network for member in self.members().values() for network in member.networks().values()]
        if len(networks) != 1:
            found = len(networks)
            raise UserError(f"the part {self.kind} needs one network, but has {found}; set one with set_members()")
        return networks[0]


PARTS = {"network-features": NetworkFeatures}
