"""Several crops of an image and their mirrors, as AlexNet, GoogLeNet and VGG were tested: posteriors are averaged.

Without `scales`, Q is what the model was trained with, or what the paper says.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from imclass.core.contracts import ViewClassifier
from imclass.models.views.batches import Images
from imclass.models.views.crops import googlenet, grid, ten_crop
from imclass.models.views.posteriors import Crops, over_scales
from imclass.models.views.scales import own_scale, proportional


@dataclass(frozen=True)
class TenCrop:
    """Four corners and the centre, and their mirrors: 10 crops a scale (Krizhevsky et al., NIPS 2012, section 4.1).

    The corners are those of the central square of the rescaled image, which is all that the paper keeps of it (section
    2). torchvision's function of this name takes those of the whole image instead.
    """

    scales: tuple[int, ...] = ()

    def __call__(self, classifier: ViewClassifier, images: Images) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image; a Q below the native size is a `UserError`."""
        scales = self.scales or (own_scale(classifier.preprocess),)
        return over_scales("tencrop", classifier, images, scales, (Crops(ten_crop),))


@dataclass(frozen=True)
class GoogLeNet144:
    """4 scales x 3 squares x 6 views x 2 mirrors = 144 crops (Szegedy et al., CVPR 2015, section 7).

    The squares are left, centre and right (top, centre and bottom of an upright image); the views of a square are its
    corners, its centre and all of it. Scales are 256, 288, 320 and 352 at 224 pixels, else in proportion.
    """

    scales: tuple[int, ...] = ()

    def __call__(self, classifier: ViewClassifier, images: Images) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image; a Q below the native size is a `UserError`."""
        scales = self.scales or proportional((256, 288, 320, 352), 224, classifier.preprocess.size)
        return over_scales("googlenet144", classifier, images, scales, (Crops(googlenet),))


@dataclass(frozen=True)
class VggMulticrop:
    """A grid of 5 x 5 crops and their mirrors: 50 a scale (Simonyan and Zisserman, ICLR 2015, section 3.2)."""

    scales: tuple[int, ...] = ()

    def __call__(self, classifier: ViewClassifier, images: Images) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image; a Q below the native size is a `UserError`."""
        scales = self.scales or (own_scale(classifier.preprocess),)
        return over_scales("vgg-multicrop", classifier, images, scales, (Crops(grid),))


PROTOCOLS = {"tencrop": TenCrop(), "googlenet144": GoogLeNet144(), "vgg-multicrop": VggMulticrop()}
