"""Single-view protocols: one look at each image, at the network's native size.

`center` is the usual single-crop test of ImageNet networks: the shorter side becomes Q, then the centre crop.
`resize` leaves nothing of the image out and does not keep its aspect.
"""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from imclass.core.contracts import ViewClassifier
from imclass.core.errors import UserError
from imclass.evaluate.views import Images, one_view


@dataclass(frozen=True)
class Center:
    """The shorter side becomes `scale` (the paper's Q, pixels), aspect kept, then the centre crop.

    Without `scale`, Q is what the model was trained with. A model whose own rule has no Q (squash, none) takes its
    native size, so that an image of that size is taken as it is.
    """

    scale: int | None = None

    def __call__(self, classifier: ViewClassifier, images: Images) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image; a Q below the native size is a `UserError`."""
        rule = classifier.preprocess
        scale = self.scale or (rule.scale if rule.resize == "shorter" else rule.size)
        if scale < rule.size:
            raise UserError(
                f"protocol center: Q is {scale} pixels; it must be at least the network's native size {rule.size}"
            )
        return one_view(classifier, images, replace(rule, resize="shorter", scale=scale))


@dataclass(frozen=True)
class Resize:
    """The whole image, squashed to the native size."""

    def __call__(self, classifier: ViewClassifier, images: Images) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image."""
        return one_view(classifier, images, replace(classifier.preprocess, resize="squash"))


PROTOCOLS = {"center": Center(), "resize": Resize()}
