"""The settings of logistic regression as a solver."""

import subprocess
import sys

import pytest

from imclass.core.bounds import check_bounds
from imclass.core.errors import UserError
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.solvers.logistic import LogisticSolver


def test_the_part_has_the_settings() -> None:
    assert LogisticSolver().build() == Logistic()
    assert LogisticSolver(grid=(0.1, 1.0), folds=3).build().get_params() == {
        "grid": (0.1, 1.0),
        "folds": 3,
        "scaling": "auto",
    }


@pytest.mark.parametrize("grid", [(), (1.0, 0.1), (0.1, 0.1), (-1.0, 1.0)])
def test_a_grid_must_be_in_ascending_order(grid: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="grid"):
        check_bounds(LogisticSolver(grid=grid))


def test_the_settings_do_not_import_torch() -> None:
    program = "import sys, imclass.recipes.finetune; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
