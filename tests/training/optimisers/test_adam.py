"""Adam, compared with a plain loop of its update rule."""

import numpy as np

from imclass.training.optimisers.adam import Adam
from tests.support.trajectory import trajectory


def test_adam_follows_its_update_rule() -> None:
    w, m, s, expected = 2.0, 0.0, 0.0, []
    for t in range(1, 8):
        g = 1 / t + 0.01 * w
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        w -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        expected.append(w)
    np.testing.assert_allclose(trajectory(Adam(weight_decay=0.01), 7), expected, rtol=1e-9)
