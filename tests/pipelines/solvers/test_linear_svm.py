"""The settings of support vector machines as a solver."""

import pytest

from imclass.core.bounds import check_bounds
from imclass.core.errors import UserError
from imclass.pipelines.parts.linear_svm import LinearSvm
from imclass.pipelines.solvers.linear_svm import LinearSvmSolver


def test_the_part_has_the_settings() -> None:
    assert LinearSvmSolver().build() == LinearSvm()
    assert LinearSvmSolver(grid=(0.1, 1.0), folds=3).build().get_params() == {
        "grid": (0.1, 1.0),
        "folds": 3,
        "scaling": "auto",
    }


@pytest.mark.parametrize(
    ("solver", "name"), [(LinearSvmSolver(grid=(1.0, 0.1)), "grid"), (LinearSvmSolver(folds=1), "folds")]
)
def test_unsuitable_settings_are_refused(solver: LinearSvmSolver, name: str) -> None:
    with pytest.raises(UserError, match=name):
        check_bounds(solver)
