"""Dictionary learning: the objective next to scikit-learn's, words of unit length, and rows that cannot be used."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import MiniBatchDictionaryLearning, sparse_encode

from imclass.core.errors import UserError
from imclass.pipelines.codebooks.dictionary import Dictionary, draw_words, replace_unused_words, update_words
from tests.support.tolerance import assert_near


def combinations(rows: int) -> np.ndarray:
    """Return rows of unit length that are sparse combinations of 30 random directions, and noise."""
    random = np.random.default_rng(0)
    weights = random.standard_normal((rows, 30)) * (random.random((rows, 30)) < 0.1)
    x = weights @ random.standard_normal((30, 16)) + 0.1 * random.standard_normal((rows, 16))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def objective(x: np.ndarray, words: np.ndarray) -> float:
    x, words = x.astype(np.float64), words.astype(np.float64)
    codes = sparse_encode(x, words, algorithm="lasso_lars", alpha=0.15)
    return float((0.5 * ((x - codes @ words) ** 2).sum(1) + 0.15 * np.abs(codes).sum(1)).mean())


@pytest.mark.slow
def test_the_objective_is_at_most_2_percent_above_that_of_scikit_learn() -> None:
    x = combinations(1500)
    peer = MiniBatchDictionaryLearning(
        30, alpha=0.15, batch_size=256, max_iter=8, fit_algorithm="cd", random_state=0, tol=0, max_no_improvement=None
    )
    expected = objective(x[:500], peer.fit(x.astype(np.float64)).components_)
    found = Dictionary(words=30, iterations=40, batch=500).fit(x)
    assert objective(x[:500], found.dictionary_) <= 1.02 * expected


def test_words_have_unit_length_and_improve() -> None:
    x = combinations(600)
    short, long = (Dictionary(words=30, iterations=n, batch=300, seed=1).fit(x).dictionary_ for n in (1, 8))
    assert_near(np.linalg.norm(long, axis=1), np.ones(30), 1e-6)
    assert objective(x[:100], long) < 0.97 * objective(x[:100], short)


def test_the_result_depends_on_nothing_but_rows_settings_and_seed() -> None:
    x = combinations(2100)
    found = []
    for seed, threads in ((1, 1), (1, 3), (2, 1)):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        found.append(Dictionary(words=9, iterations=3, seed=seed).fit(x).dictionary_)
        torch.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_each_word_minimises_the_objective_for_the_codes_of_a_batch() -> None:
    random = np.random.default_rng(0)
    codes, rows = (torch.from_numpy(random.standard_normal((50, n))) for n in (3, 5))
    words = torch.nn.functional.normalize(torch.from_numpy(random.standard_normal((3, 5))))
    expected = words.numpy().copy()
    for k in range(3):
        others = rows.numpy() - codes.numpy() @ expected + np.outer(codes.numpy()[:, k], expected[k])
        best = codes.numpy()[:, k] @ others  # the sphere's point nearest to the unconstrained minimum
        expected[k] = best / np.linalg.norm(best)
    found = words.float()
    update_words(found, (codes.T @ codes).float(), (codes.T @ rows).float())
    assert_near(found, torch.from_numpy(expected).float())


def test_a_word_without_codes_remains() -> None:
    words = torch.eye(2)
    update_words(words, torch.zeros(2, 2), torch.zeros(2, 2))
    assert torch.equal(words, torch.eye(2))


def test_unused_words_become_the_rows_with_the_largest_errors() -> None:
    words, squares, products = torch.eye(3), torch.ones(3, 3), torch.ones(3, 3)
    rows = torch.tensor([[0.0, 0.0, 2.0], [0.0, 3.0, 4.0], [0.0, 0.0, 0.0]])
    errors = rows * torch.tensor([[0.1], [1.0], [1.0]])
    replace_unused_words(words, squares, products, torch.tensor([False, True, False]), rows, errors)
    assert_near(words, torch.tensor([[0.0, 0.6, 0.8], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    assert squares.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]] and products.sum(1).tolist() == [0, 3, 0]
    replace_unused_words(words, squares, products, torch.zeros(3, dtype=torch.bool), rows * 0, rows * 0)
    assert_near(words[0], torch.tensor([0.0, 0.6, 0.8]))


def test_the_start_consists_of_rows_and_random_directions() -> None:
    x = np.zeros((9, 4), np.float32)
    x[3], x[5] = (0, 2, 0, 0), (3, 0, 0, 0)
    found = draw_words(x, 5, np.random.default_rng(0)).numpy()
    assert_near(np.linalg.norm(found, axis=1), np.ones(5), 1e-6)
    assert sorted(found[:2].tolist()) == [[0, 1, 0, 0], [1, 0, 0, 0]]


def test_rows_of_zeros_and_equal_rows_give_finite_words() -> None:
    for x in (np.zeros((9, 3), np.float32), np.ones((9, 3), np.float32)):
        found = Dictionary(words=4, iterations=12).fit(x)
        assert_near(np.linalg.norm(found.dictionary_, axis=1), np.ones(4), 1e-6)
        assert np.isfinite(found.transform(x)).all()


def test_rows_that_cannot_be_used_are_an_error() -> None:
    with pytest.raises(UserError, match="only 3 descriptors, fewer than the 4 words of the dictionary; use more"):
        list(Dictionary(words=4).fit_steps(np.ones((3, 2), np.float32)))
    with pytest.raises(UserError, match="not finite"):
        list(Dictionary(words=1).fit_steps(np.full((3, 2), np.nan, np.float32)))
