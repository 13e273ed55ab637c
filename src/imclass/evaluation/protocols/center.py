"""Single-view protocols: one view of each image, at the network's native size.

`center` is the standard single-crop test of ImageNet networks: the shorter side is rescaled to Q, and a centre crop
is taken. `resize` keeps the whole image, but not its aspect ratio.
"""

from dataclasses import dataclass, replace
from functools import partial

from jaxtyping import Float
from torch import Tensor

from imclass.core.contracts import NetworkBacked
from imclass.core.preprocess import Preprocess
from imclass.models.scores import posterior, scores_of
from imclass.models.views.batches import ImageSequence, score_one_view
from imclass.models.views.posteriors import mirror_mean
from imclass.models.views.scales import check_scales, training_scale


@dataclass(frozen=True)
class Center:
    """The centre crop of an image whose shorter side has been rescaled to `scale` pixels (Q in the VGG paper).

    Without `scale`, Q is the scale that the model was trained with. With `flip`, the probabilities of the crop and of
    its horizontal flip are averaged.
    """

    scale: int | None = None
    flip: bool = False
    name: str = "center"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return the single scale Q."""
        return (self.scale or training_scale(preprocess),)

    def check(self, classifier: NetworkBacked) -> None:
        """Raise `UserError` if Q is below the native size."""
        check_scales(f"protocol {self.name}", self.scales_for(classifier.preprocess), classifier.preprocess)

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Return the scores of uint8 H W C images. Raise `UserError` if Q is below the native size."""
        self.check(classifier)
        (scale,) = self.scales_for(classifier.preprocess)
        rule = replace(classifier.preprocess, resize="shorter", scale=scale)
        if not self.flip:
            return score_one_view(classifier, images, rule)
        posteriors = partial(mirror_mean, lambda views: posterior(classifier.scores(views), classifier.link))
        return scores_of(score_one_view(classifier, images, rule, posteriors).double(), classifier.link).float()


@dataclass(frozen=True)
class Resize:
    """The whole image, resized to the native size without keeping its aspect ratio."""

    name: str = "resize"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return no scales, because the aspect ratio is not kept."""
        return ()

    def check(self, classifier: NetworkBacked) -> None:
        """Accept every network."""

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Return the scores of uint8 H W C images."""
        return score_one_view(classifier, images, replace(classifier.preprocess, resize="squash"))


PROTOCOLS = {"center": Center(), "resize": Resize()}
