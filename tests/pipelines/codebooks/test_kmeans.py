"""k-means: inertia next to scikit-learn's, the nearest words, unused words, and rows that cannot be used."""

import numpy as np
import pytest
import torch
from sklearn.cluster import MiniBatchKMeans

from imclass.core.errors import UserError
from imclass.pipelines.codebooks import kmeans
from imclass.pipelines.codebooks.kmeans import KMeans, move, replace_unused, spread_out
from tests.support.tolerance import assert_near


def patches(rows: int) -> np.ndarray:
    """Return rows of unit length, as local descriptors are: smooth random signals."""
    noise = np.random.default_rng(0).normal(size=(rows, 24)).cumsum(1)
    return (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)


def inertia(x: np.ndarray, centres: np.ndarray) -> float:
    """Return the sum of the squared distances to the nearest centres, computed from differences."""
    return sum(((row - centres.astype(np.float64)) ** 2).sum(1).min() for row in x)


@pytest.mark.parametrize("batch", [512, 4000])
def test_the_inertia_is_at_most_2_percent_above_that_of_scikit_learn(batch: int) -> None:
    x = patches(3000)
    found = KMeans(words=40, iterations=60, batch=batch).fit(x)
    expected = MiniBatchKMeans(40, random_state=0, n_init=3, batch_size=512).fit(x)
    assert inertia(x, found.centres_) <= 1.02 * inertia(x, expected.cluster_centers_)


def test_words_are_the_nearest_ones_even_far_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "CHUNK", 100)
    x = patches(300) + np.float32(1000)
    found = KMeans(words=9, iterations=5).fit(x)
    distances = np.linalg.norm(x[:, None].astype(np.float64) - found.centres_, axis=2)
    assert np.array_equal(found.assign(x), distances.argmin(1))
    assert_near(found.transform(x), distances, 1e-5)


def test_the_result_depends_on_nothing_but_rows_settings_and_seed() -> None:
    x = patches(500)
    found, again, other = (KMeans(words=9, iterations=12, batch=100, seed=seed).fit(x).centres_ for seed in (1, 1, 2))
    assert np.array_equal(found, again)
    assert not np.array_equal(found, other)


def test_a_batch_of_all_rows_gives_means_of_the_rows_of_each_word() -> None:
    x = patches(300)
    found = KMeans(words=5, iterations=80).fit(x)
    means = np.stack([x[found.assign(x) == word].mean(0) for word in range(5)])
    assert_near(found.centres_, means, 1e-5)


def test_a_centre_moves_to_the_mean_of_all_rows_that_it_stands_for() -> None:
    centres, counts = torch.tensor([[2.0], [9.0]]), torch.tensor([1.0, 3.0])
    move(centres, counts, torch.tensor([[4.0], [6.0]]), torch.tensor([0, 0]))
    assert centres.tolist() == [[4.0], [9.0]]
    assert counts.tolist() == [3.0, 3.0]


def test_unused_centres_move_to_the_farthest_rows() -> None:
    centres, counts, rows = torch.zeros(3, 1), torch.ones(3), torch.tensor([[1.0], [5.0], [3.0]])
    replace_unused(centres, counts, torch.tensor([False, True, False]), rows, rows[:, 0] ** 2)
    assert centres[:, 0].tolist() == [5.0, 0.0, 3.0]
    assert counts.tolist() == [0.0, 1.0, 0.0]


def test_the_start_consists_of_rows_that_are_far_apart() -> None:
    rows = torch.arange(4).repeat_interleave(50)[:, None] * 100 + torch.linspace(0, 1, 50).repeat(4)[:, None]
    found = spread_out(rows, 4, np.random.default_rng(0))
    assert sorted((found[:, 0] // 100).tolist()) == [0, 1, 2, 3]


def test_words_that_start_near_the_mean_ignore_single_rows_far_away() -> None:
    """Check that the other start takes a word for each of them."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((2000, 4)).astype(np.float32)
    rows[:8] += 50 * np.sign(rows[:8])
    longest = {}
    for start in ("near", "spread"):
        words = KMeans(words=16, start=start).fit(rows)
        longest[start] = np.sort(np.linalg.norm(words.centres_, axis=1))
        assert len(np.unique(words.predict(rows))) == 16
    assert (longest["near"] > 50).sum() < (longest["spread"] > 50).sum()


def test_equal_rows_give_equal_words() -> None:
    found = KMeans(words=3, iterations=20).fit(np.ones((8, 2), np.float32))
    assert np.array_equal(found.centres_, np.ones((3, 2)))


def test_fewer_rows_than_words_are_an_error() -> None:
    with pytest.raises(UserError, match="the images have only 3 descriptors, fewer than the 4 words; use more"):
        list(KMeans(words=4).fit_steps(np.ones((3, 2), np.float32)))


def test_numbers_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(UserError, match="not finite"):
        list(KMeans(words=1).fit_steps(np.full((3, 2), np.nan, np.float32)))


def test_rows_of_another_width_are_an_error() -> None:
    with pytest.raises(UserError, match="fitted to rows of 24 numbers"):
        KMeans(words=2, iterations=1).fit(patches(9)).assign(np.ones((1, 3), np.float32))
