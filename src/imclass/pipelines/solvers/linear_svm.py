"""Settings of the solver that fits linear support vector machines."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from imclass.core.bounds import Above, AtLeast
from imclass.core.config import Solver
from imclass.pipelines.solvers.logistic import FOLDS, Scaling, check_grid

SVM_GRID = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)


@dataclass(frozen=True)
class LinearSvmSolver(Solver):
    """Linear support vector machines. Cross-validation chooses the penalty's strength and calibrates the scores."""

    kind: ClassVar[str] = "linear-svm"
    grid: Annotated[tuple[float, ...], Above(0)] = SVM_GRID  # strengths C to choose from, in ascending order
    folds: Annotated[int, AtLeast(2)] = FOLDS  # the largest number of folds in the cross-validation
    scaling: Scaling = "auto"  # standardised: divide each feature by its std; common: all by one number; auto: try both

    def check_together(self, at: str) -> None:
        """Raise `UserError` for a grid that is empty or not in ascending order."""
        check_grid(self.grid, at)

    def build(self) -> Any:
        """Return unfitted support vector machines."""
        from imclass.pipelines.parts.linear_svm import LinearSvm

        return LinearSvm(self.grid, self.folds, self.scaling)


SOLVERS = {"linear-svm": LinearSvmSolver}
