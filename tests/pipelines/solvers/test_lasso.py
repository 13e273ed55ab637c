"""Sparse codes equal scikit-learn's, and satisfy the optimality conditions of the lasso."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import sparse_encode
from torch import Tensor

from imclass.pipelines.solvers import lasso
from imclass.pipelines.solvers.lasso import sparse_codes

WITHIN = 5e-5  # of the largest coefficient


def problem(rows: int, words: int, width: int) -> tuple[Tensor, Tensor]:
    """Return rows and words that are as similar to each other as those of SIFT: positive, of unit length."""
    random = np.random.default_rng(0)
    x, b = (np.abs(random.standard_normal((n, width))).astype(np.float32) for n in (rows, words))
    return tuple(torch.from_numpy(a / np.linalg.norm(a, axis=1, keepdims=True)) for a in (x, b))  # type: ignore[return-value]


def codes(x: Tensor, words: Tensor, penalty: float) -> np.ndarray:
    return torch.cat(list(sparse_codes(x, words, penalty))).numpy()


@pytest.mark.parametrize(("words", "penalty"), [(40, 0.15), (120, 0.1), (5, 0.15)])
def test_codes_equal_those_of_scikit_learn(words: int, penalty: float) -> None:
    x, b = problem(50, words, 24)
    expected = sparse_encode(x.double().numpy(), b.double().numpy(), algorithm="lasso_lars", alpha=penalty)
    found = codes(x, b, penalty)
    assert np.abs(found - expected).max() <= WITHIN * np.abs(expected).max()
    assert ((found != 0).sum(1) > 2).any() and (found == 0).any()


def test_codes_satisfy_the_conditions_of_a_minimum_to_within_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasso, "BLOCK", 17)
    x, b = problem(40, 200, 32)
    found = torch.from_numpy(codes(x, b, 0.1)).double()
    correlations = (x.double() - found @ b.double()) @ b.double().T
    used = found != 0
    assert float((correlations - 0.1 * found.sign())[used].abs().max()) < 1e-5
    assert float(correlations[~used].abs().max()) < 0.1 + 1e-5


def test_rows_of_zeros_and_weak_rows_have_codes_of_zeros() -> None:
    x, b = problem(3, 10, 6)
    x[1], x[2] = 0, x[2] * 0.1
    found = codes(x, b, 0.15)
    assert found[0].any() and not found[1:].any()
    assert next(sparse_codes(x[:0], b, 0.15)).shape == (0, 10)


def test_equal_words_share_the_coefficient_of_one() -> None:
    x, b = problem(20, 12, 8)
    single, double = codes(x, b, 0.1), codes(x, torch.cat([b, b]), 0.1)
    assert np.isfinite(double).all()
    assert np.abs(double[:, :12] + double[:, 12:] - single).max() <= 4 * WITHIN * np.abs(single).max()


def test_the_linear_equations_make_codes_exact_in_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    x, b = problem(40, 200, 32)
    expected = sparse_encode(x.double().numpy(), b.double().numpy(), algorithm="lasso_lars", alpha=0.1)
    monkeypatch.setattr(lasso, "ROUNDS", 6)
    exact = codes(x, b, 0.1)
    monkeypatch.setattr(lasso, "move_to_solution", lambda values, *rest: values)
    rough = codes(x, b, 0.1)
    assert 50 * np.abs(exact - expected).max() < np.abs(rough - expected).max()
