"""The use of a pipeline's last part as a classifier in scikit-learn.

An example is `cross_val_score(Estimator(LinearSvm()), X, y)`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.pipelines.codebooks.estimator import RowEstimator, UnusableRows
from imclass.pipelines.part import Scorer
from imclass.pipelines.parts.logistic import Logistic


@dataclass(eq=False)
class Estimator(RowEstimator):
    """A classifier in the sense of scikit-learn that fits a copy of a last part to rows with one label each.

    The parameters of the part have names such as `part__grid`. Learned: `part_`, the fitted part, and `classes_`, the
    labels in ascending order.
    """

    part: Scorer | None = None  # None: logistic regression

    def fit(self, X: Any, y: Any) -> "Estimator":
        """Learn from rows and labels, and return the estimator.

        Raise `UserError`, also a `ValueError`, if there are fewer than two classes, or if the part cannot be fitted.
        """
        from sklearn.utils.multiclass import check_classification_targets

        x, labels = self.validate_rows(X, y=y, ensure_min_samples=2)
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise UnusableRows("all rows have the same label, and a classifier needs at least two classes; add rows")
        part = Logistic() if self.part is None else replace(self.part)
        try:
            part.fit(x, OneOf(numbers.astype(np.int64)), len(self.classes_))
        except UserError as error:
            raise UnusableRows(str(error)) from error
        self.part_ = part
        return self

    def part_scores(self, X: Any) -> Float[np.ndarray, "N K"]:
        """Return the part's score of each class for each row."""
        part: Scorer = self.require_fit("part_")
        return part.scores(self.validate_rows(X, reset=False))

    def decision_function(self, X: Any) -> Float[np.ndarray, "N *K"]:
        """Return the part's score of each class. If there are two, return the second minus the first."""
        scores = self.part_scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: Any) -> Float[np.ndarray, "N K"]:
        """Return the probability of each class, the softmax of the part's scores."""
        scores = self.part_scores(X)
        odds = np.exp(scores - scores.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the label with the highest score for each row."""
        numbers = self.part_scores(X).argmax(1)
        return self.classes_[numbers]

    def score(self, X: Any, y: Any) -> float:
        """Return the fraction of rows whose label is predicted."""
        return float(np.mean(self.predict(X) == np.asarray(y)))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the part, and its parameters if `deep` is true."""
        nested = self.part.get_params() if deep and self.part is not None else {}
        return {"part": self.part, **{f"part__{name}": value for name, value in nested.items()}}

    def set_params(self, **params: Any) -> "Estimator":
        """Set the part, or parameters of the part, and return the estimator. Raise `UserError` for unknown ones."""
        self.part = params.pop("part", self.part)
        for name, value in params.items():
            if name not in (known := self.get_params()):
                raise UnusableRows(f"Estimator has no parameter {name!r}; the parameters are {', '.join(known)}")
            setattr(self.part, name.removeprefix("part__"), value)
        return self

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's description of the estimator: a classifier of dense rows with one label each."""
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier", target_tags=TargetTags(required=True), classifier_tags=ClassifierTags()
        )
