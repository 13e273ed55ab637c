"""Settings of the logistic-regression solver."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from imclass.core.bounds import Above, AtLeast
from imclass.core.config import Solver
from imclass.core.errors import UserError

GRID = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
FOLDS = 5
Scaling: TypeAlias = Literal["auto", "standardised", "common"]


@dataclass(frozen=True)
class LogisticSolver(Solver):
    """Logistic regression with an L2 penalty. Cross-validation chooses the penalty's strength (`pipelines/parts`)."""

    kind: ClassVar[str] = "logistic"
    grid: Annotated[tuple[float, ...], Above(0)] = GRID  # strengths C to choose from, in ascending order
    folds: Annotated[int, AtLeast(1)] = FOLDS  # the largest number of folds in the cross-validation
    scaling: Scaling = "auto"  # standardised: divide each feature by its std; common: all by one number; auto: try both

    def check_together(self, at: str) -> None:
        """Raise `UserError` for a grid that is empty or not in ascending order."""
        check_grid(self.grid, at)

    def build(self) -> Any:
        """Return an unfitted logistic regression."""
        from imclass.pipelines.parts.logistic import Logistic

        return Logistic(self.grid, self.folds, self.scaling)


def check_grid(grid: tuple[float, ...], at: str) -> None:
    """Raise `UserError` for a grid that is empty or not in ascending order."""
    if not grid or list(grid) != sorted(set(grid)):
        raise UserError(f"--{at}grid is {grid}; specify one or more strengths in ascending order")


SOLVERS = {"logistic": LogisticSolver}
