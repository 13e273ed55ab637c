"""Dense max-pooling at several scales (Sermanet et al., OverFeat, ICLR 2014, section 3.3 and table 5).

The last pooling layer is applied at every position, so the class map is finer by a factor of that layer's stride. The
highest probability of each class on the map is averaged over scales and over the image and its horizontal flip.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from imclass.core.contracts import NetworkBacked
from imclass.core.preprocess import Preprocess
from imclass.models.analysis.surgery import FineNetwork, fine_network
from imclass.models.views.batches import ImageSequence
from imclass.models.views.posteriors import ClassMaps, check_maps, highest_posterior, score_over_scales
from imclass.models.views.scales import check_scales, proportional_scales

HIGHEST_MAPS = ClassMaps(highest_posterior)


@dataclass(frozen=True)
class OverFeat:
    """Each class's highest probability, averaged over scales and flips (Sermanet et al., ICLR 2014, section 3.3).

    For a network with 221-pixel inputs, like the paper's accurate model, the default scales are the shorter sides of
    the paper's six scales. For other input sizes, these lengths are scaled in proportion. The paper also fixes the
    longer side at each scale; here images keep their aspect ratio. The errors quoted in other papers were measured at
    four of the scales: `--scales 245,281,389,461`.
    """

    scales: tuple[int, ...] = ()
    name: str = "overfeat"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return the lengths in pixels to which the shorter side of an image is rescaled."""
        return self.scales or proportional_scales((245, 281, 317, 389, 425, 461), 221, preprocess.size)

    def check(self, classifier: NetworkBacked) -> None:
        """Raise `UserError` if the classifier is not one network with pooling, or a scale is below the native size."""
        sides = self.scales_for(classifier.preprocess)
        check_scales(f"protocol {self.name}", sides, classifier.preprocess)
        check_maps(with_dense_pooling(classifier), min(sides), (HIGHEST_MAPS,))

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Return the log-scores of uint8 H W C images. Raise `UserError` if a scale is below the native size."""
        sides = self.scales_for(classifier.preprocess)
        check_scales(f"protocol {self.name}", sides, classifier.preprocess)
        return score_over_scales(with_dense_pooling(classifier), images, sides, (HIGHEST_MAPS,))


def with_dense_pooling(classifier: NetworkBacked) -> NetworkBacked:
    """Return the classifier with its network's last pooling layer applied at every position, as it may already be."""
    if isinstance(classifier.network, FineNetwork):
        return classifier
    return classifier.with_network(fine_network(classifier.network))


PROTOCOLS = {"overfeat": OverFeat()}
