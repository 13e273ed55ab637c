"""The negative log-likelihood of the label under the softmax of the scores."""

from dataclasses import dataclass
from typing import Any, ClassVar

from imclass.core.config import Objective


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Multinomial logistic regression, in nats (Krizhevsky et al., NIPS 2012, section 3)."""

    kind: ClassVar[str] = "cross-entropy"

    def loss(self, scores: Any, targets: Any) -> Any:
        """Return minus the log of the posterior of each image's label."""
        from torch.nn import functional

        return functional.cross_entropy(scores, targets.labels, reduction="none")


OBJECTIVES = {"cross-entropy": CrossEntropy}
