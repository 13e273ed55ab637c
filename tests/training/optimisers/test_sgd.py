"""SGD, compared with a plain loop of its update rule."""

import numpy as np
import pytest

from imclass.training.optimisers.sgd import SGD
from tests.support.trajectory import trajectory


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_sgd_with_momentum_follows_its_update_rule(nesterov: bool, decay: float) -> None:
    w, v, expected = 2.0, 0.0, []
    for t in range(1, 8):
        g = 1 / t + decay * w
        v = 0.9 * v + g
        w -= 0.1 * (g + 0.9 * v if nesterov else v)
        expected.append(w)
    found = trajectory(SGD(momentum=0.9, nesterov=nesterov, weight_decay=decay), 7)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
