"""The network applied to the whole image (Simonyan and Zisserman, ICLR 2015, section 3.2).

The shorter side becomes Q; the class map is averaged over space before the softmax; posteriors of the image and its
mirror, and of all scales, are averaged. Without `scales` there is one: the Q that the model was trained with, as for
the paper's Table 3. Its Table 4 has S - 32, S, S + 32 for a net trained at S, and 256, 384, 512 after scale jittering.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from imclass.core.contracts import ViewClassifier
from imclass.models.views.batches import Images
from imclass.models.views.crops import grid
from imclass.models.views.posteriors import Crops, Maps, mean_of_scores, over_scales
from imclass.models.views.scales import own_scale, proportional


@dataclass(frozen=True)
class Dense:
    """The mean posterior over scales and mirrors."""

    scales: tuple[int, ...] = ()

    def __call__(self, classifier: ViewClassifier, images: Images) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image; a Q below the native size is a `UserError`."""
        scales = self.scales or (own_scale(classifier.preprocess),)
        return over_scales("dense", classifier, images, scales, (Maps(mean_of_scores),))


@dataclass(frozen=True)
class DenseMulticrop:
    """The mean of the posteriors of `dense` and `vgg-multicrop` at the same scales (section 4.3, Table 5)."""

    scales: tuple[int, ...] = ()

    def __call__(self, classifier: ViewClassifier, images: Images) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image; a Q below the native size is a `UserError`."""
        scales = self.scales or (own_scale(classifier.preprocess),)
        return over_scales("dense+multicrop", classifier, images, scales, (Maps(mean_of_scores), Crops(grid)))


@dataclass(frozen=True)
class ResNetMultiscale:
    """`dense` at 224, 256, 384, 480 and 640 pixels, for other native sizes in proportion (He et al., CVPR 2016).

    Section 3.4 averages "the scores at multiple scales" of the fully convolutional form of VGG, whose posteriors and
    mirrors are therefore taken.
    """

    scales: tuple[int, ...] = ()

    def __call__(self, classifier: ViewClassifier, images: Images) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image; a Q below the native size is a `UserError`."""
        scales = self.scales or proportional((224, 256, 384, 480, 640), 224, classifier.preprocess.size)
        return over_scales("resnet-multiscale", classifier, images, scales, (Maps(mean_of_scores),))


PROTOCOLS = {"dense": Dense(), "dense+multicrop": DenseMulticrop(), "resnet-multiscale": ResNetMultiscale()}
