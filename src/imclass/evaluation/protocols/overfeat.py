"""Dense max-pooling at several scales (Sermanet et al., OverFeat, ICLR 2014, section 3.3 and table 5).

The last pooling is done at every position, so that the class map is as many times finer as it has a stride; of each
class the highest posterior counts, and these are averaged over scales and mirrors.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from imclass.core.contracts import NetworkBacked
from imclass.core.preprocess import Preprocess
from imclass.models.analysis.surgery import fine_network
from imclass.models.views.batches import ImageSequence
from imclass.models.views.posteriors import ClassMaps, check_maps, highest_posterior, score_over_scales
from imclass.models.views.scales import check_scales, proportional_scales

HIGHEST_MAPS = ClassMaps(highest_posterior)


@dataclass(frozen=True)
class OverFeat:
    """Each class's highest posterior, averaged over scales and mirrors (Sermanet et al., ICLR 2014, section 3.3).

    Scales are the shorter sides of the paper's six, for the accurate network's 221 pixels and else in proportion. Its
    inputs have one fixed longer side a scale; here images keep their aspect. The errors that other papers quote are of
    four of the scales: `--scales 245,281,389,461`.
    """

    scales: tuple[int, ...] = ()
    name: str = "overfeat"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return the sides in pixels to which the shorter side of an image is rescaled."""
        return self.scales or proportional_scales((245, 281, 317, 389, 425, 461), 221, preprocess.size)

    def check(self, classifier: NetworkBacked) -> None:
        """Raise `UserError` for another model than one network with pooling, or a Q below its native size."""
        sides = self.scales_for(classifier.preprocess)
        check_scales(self.name, sides, classifier.preprocess)
        check_maps(with_dense_pooling(classifier), min(sides), (HIGHEST_MAPS,))

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Return log-scores of uint8 H W C images; raise `UserError` as `check` does."""
        sides = self.scales_for(classifier.preprocess)
        check_scales(self.name, sides, classifier.preprocess)
        return score_over_scales(with_dense_pooling(classifier), images, sides, (HIGHEST_MAPS,))


def with_dense_pooling(classifier: NetworkBacked) -> NetworkBacked:
    """Return the classifier with the last pooling of its network done at every position."""
    return classifier.with_network(fine_network(classifier.network))


PROTOCOLS = {"overfeat": OverFeat()}
