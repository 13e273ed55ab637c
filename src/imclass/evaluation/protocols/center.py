"""Single-view protocols: one look at each image, at the network's native size.

`center` is the usual single-crop test of ImageNet networks: the shorter side becomes Q, then the centre crop.
`resize` leaves nothing of the image out and does not keep its aspect.
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
    """The shorter side becomes `scale` (the paper's Q, pixels), aspect kept, then the centre crop.

    Without `scale`, Q is what the model was trained with. With `flip`, the posteriors of the crop and of its mirror are
    averaged.
    """

    scale: int | None = None
    flip: bool = False
    name: str = "center"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return Q."""
        return (self.scale or training_scale(preprocess),)

    def check(self, classifier: NetworkBacked) -> None:
        """Raise `UserError` for a Q below the native size."""
        check_scales(self.name, self.scales_for(classifier.preprocess), classifier.preprocess)

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image; a Q below the native size is a `UserError`."""
        self.check(classifier)
        (scale,) = self.scales_for(classifier.preprocess)
        rule = replace(classifier.preprocess, resize="shorter", scale=scale)
        if not self.flip:
            return score_one_view(classifier, images, rule)
        posteriors = partial(mirror_mean, lambda views: posterior(classifier.scores(views), classifier.link))
        return scores_of(score_one_view(classifier, images, rule, posteriors).double(), classifier.link).float()


@dataclass(frozen=True)
class Resize:
    """The whole image, squashed to the native size."""

    name: str = "resize"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return no Q: the aspect is not kept."""
        return ()

    def check(self, classifier: NetworkBacked) -> None:
        """Accept every network."""

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image."""
        return score_one_view(classifier, images, replace(classifier.preprocess, resize="squash"))


PROTOCOLS = {"center": Center(), "resize": Resize()}
