"""The base class of codebooks, which follows scikit-learn's contract without importing scikit-learn at first.

`fit`, `predict` and `transform` accept anything that scikit-learn's estimators accept, and raise its errors.
`fit_steps` and the methods that pipelines call accept float32 arrays only, and need no scikit-learn.
"""
# Tested in tests/pipelines/test_estimators.py

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32

from imclass.core.errors import UserError

This = TypeVar("This", bound="RowEstimator")
Fitted = TypeVar("Fitted", bound="Estimator2d")


class UnusableRows(UserError, ValueError):
    """Rows that an estimator cannot use. scikit-learn expects a `ValueError`."""


@dataclass(eq=False)
class RowEstimator:
    """An estimator of rows of numbers. Its fields are its parameters, and learned arrays have names that end in "_"."""

    def validate_rows(self, rows: Any, **options: Any) -> Any:
        """Return rows as a C-ordered float32 array, as scikit-learn does, or rows and labels.

        `options` are those of scikit-learn's `validate_data`. Raise `UserError`, also a `ValueError`, if it refuses.
        """
        from sklearn.utils.validation import validate_data

        try:
            return validate_data(self, rows, dtype=np.float32, order="C", **options)
        except ValueError as error:
            raise UnusableRows(str(error)) from error

    def require_fit(self, name: str) -> Any:
        """Return the learned array `name`. Raise scikit-learn's `NotFittedError`, also a `UserError`, without a fit."""
        if hasattr(self, name):
            return getattr(self, name)
        from sklearn.exceptions import NotFittedError

        failure = type("NotFitted", (UserError, NotFittedError), {"__doc__": "A use of an estimator before its fit."})
        raise failure(f"this {type(self).__name__} has not been fitted; call fit first")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters. `deep` has no effect, because no parameter is an estimator."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def set_params(self: This, **params: Any) -> This:
        """Set parameters, and return the estimator. Raise `UserError` for an unknown parameter."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise UnusableRows(
                    f"{type(self).__name__} has no parameter {name!r}; the parameters are {', '.join(known)}"
                )
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether the estimator has been fitted."""
        return hasattr(self, "n_features_in_")


@dataclass(eq=False)
class Estimator2d(RowEstimator):
    """An estimator that needs no labels, and transforms rows."""

    @abstractmethod
    def fit_steps(self, x: Float32[np.ndarray, "D d"]) -> Iterator[tuple[int, int]]:
        """Learn from rows, and yield the numbers of finished and expected steps after each step.

        If the iterator is not exhausted, the estimator has not been fitted. Raise `UserError` for unusable rows.
        """

    @property
    @abstractmethod
    def fewest_rows(self) -> int:
        """Return the smallest number of rows from which the estimator can learn."""

    def fit(self: Fitted, X: Any, y: Any = None) -> Fitted:
        """Learn from rows, and return the estimator. `y` is ignored."""
        for _ in self.fit_steps(self.validate_rows(X, ensure_min_samples=self.fewest_rows)):
            pass
        return self

    def begin(self, x: Float32[np.ndarray, "D d"], what: str) -> None:
        """Record the width of the rows to fit. Raise `UserError` if there are too few, or if any are not finite.

        `what` names that which must not outnumber the rows.
        """
        if len(x) < self.fewest_rows:
            raise UnusableRows(
                f"the images have only {len(x):,} descriptors, fewer than {what}; "
                "use more or larger images, a denser grid, or a smaller number"
            )
        check_finite_rows(x)
        self.n_features_in_ = x.shape[1]

    def check_width(self, x: Float32[np.ndarray, "D d"], width: int) -> None:
        """Raise `UserError` if rows have another width than those of the fit."""
        if x.ndim != 2 or x.shape[1] != width:
            raise UnusableRows(
                f"{type(self).__name__} was fitted to rows of {width} numbers, but these have the shape "
                f"{tuple(x.shape)}; use the same descriptors, or fit again"
            )

    def fit_transform(self, X: Any, y: Any = None) -> Float32[np.ndarray, "D _"]:
        """Learn from rows, and return the same rows transformed."""
        return self.fit(X).transform(X)

    @abstractmethod
    def transform(self, X: Any) -> Float32[np.ndarray, "D _"]:
        """Return transformed rows."""

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's description of the estimator: a transformer of dense rows to float32 rows."""
        from sklearn.utils import Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="transformer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float32"]),
        )


def check_finite_rows(x: Float32[np.ndarray, "D d"], chunk: int = 65_536) -> None:
    """Raise `UserError` if any numbers are not finite. Memory is bounded by `chunk` rows."""
    for start in range(0, len(x), chunk):
        if not np.isfinite(x[start : start + chunk]).all():
            raise UnusableRows("some descriptors are not finite; remove NaN and inf, or use another descriptor")
