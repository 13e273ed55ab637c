"""Dense max-pooling at several scales (Sermanet et al., OverFeat, ICLR 2014, section 3.3 and table 5).

The last pooling is done at every position, so that the class map is as many times finer as it has a stride; of each
class the highest posterior counts, and these are averaged over scales and mirrors.
"""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from imclass.core.contracts import ViewClassifier
from imclass.core.errors import UserError
from imclass.models.analysis.surgery import fine
from imclass.models.classifier import NetworkClassifier
from imclass.models.views.batches import Images
from imclass.models.views.posteriors import Maps, highest, over_scales
from imclass.models.views.scales import proportional


@dataclass(frozen=True)
class OverFeat:
    """The mean over scales and mirrors of each class's highest posterior.

    Scales are the shorter sides of the paper's six, for the accurate network's 221 pixels and else in proportion. Its
    inputs have one fixed longer side a scale; here images keep their aspect.
    """

    scales: tuple[int, ...] = ()

    def __call__(self, classifier: ViewClassifier, images: Images) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image; a network without pooling or a Q below its size is a `UserError`."""
        if not isinstance(classifier, NetworkClassifier):
            raise UserError("protocol overfeat changes a pooling of a network, and this model is not one network")
        scales = self.scales or proportional((245, 281, 317, 389, 425, 461), 221, classifier.preprocess.size)
        finer = replace(classifier, network=fine(classifier.network))
        return over_scales("overfeat", finer, images, scales, (Maps(highest),))


PROTOCOLS = {"overfeat": OverFeat()}
