"""Averaged SGD: its objective next to LIBLINEAR's minimum, mapped rows, marks that are not judged, and wrong input."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf
from imclass.pipelines.parts.averaged_sgd import AveragedSgd, Machines, Rows
from tests.pipelines.parts.test_logistic import clouds
from tests.support.tolerance import assert_near

GRID = (1e-2, 1e-3, 1e-4)


def quick(penalties: tuple[float, ...] = GRID) -> AveragedSgd:
    """Return a part that sees few images."""
    return AveragedSgd(penalties, passes=3, fewest=3000)


def objective(z: np.ndarray, signs: np.ndarray, penalty: float, weights: np.ndarray, biases: np.ndarray) -> float:
    hinge = np.maximum(1 - signs * (z @ weights.T + biases), 0)
    return float(hinge.mean(0).sum() + penalty / 2 * (weights.astype(np.float64) ** 2).sum())


@pytest.mark.parametrize("penalty", [1e-1])
def test_the_objective_is_close_to_the_minimum_of_liblinear(penalty: float) -> None:
    x, labels = clouds(150, 20, 3)
    data = Rows.of(x + 5, OneOf(labels), 3, None)
    z, signs = data.standard(0, len(x))[:, :-1].astype(np.float64), 2 * np.eye(3)[labels] - 1
    fitted = AveragedSgd((penalty,), fewest=20_000).fit(x + 5, OneOf(labels), 3)
    weights = fitted.weights_ * data.size / fitted.scale_
    biases = (fitted.biases_ + fitted.weights_ @ data.mean) / fitted.scale_
    exact = LinearSVC(C=1 / (penalty * len(x)), loss="hinge", intercept_scaling=100, max_iter=1_000_000).fit(z, labels)
    expected = objective(z, signs, penalty, exact.coef_, exact.intercept_)
    assert expected * 0.999 < objective(z, signs, penalty, weights, biases) < expected * 1.02
    found = fitted.scores(x + 5).argmax(1)
    assert (found == exact.predict(z)).mean() > 0.97


def test_a_mapped_file_is_read_in_slices(tmp_path: Path) -> None:
    x, labels = clouds(150, 20, 3)
    np.save(tmp_path / "x.npy", x)

    class Slices:
        """Rows that can only be read as slices."""

        shape = x.shape

        def __init__(self) -> None:
            self.mapped, self.longest = np.load(tmp_path / "x.npy", mmap_mode="r"), 0

        def __len__(self) -> int:
            return len(self.mapped)

        def __getitem__(self, some: slice) -> np.ndarray:
            assert isinstance(some, slice)
            return self.mapped[some]

    fitted = quick().fit(Slices(), OneOf(labels), 3)
    expected = quick().fit(x, OneOf(labels), 3)
    assert np.array_equal(fitted.weights_, expected.weights_)
    assert np.array_equal(fitted.scores(Slices()), expected.scores(x))


def test_a_pass_reads_each_row_that_is_used_once_and_mixes_sorted_classes() -> None:
    x = np.arange(500, dtype=np.float32)[:, None]
    data, used = Rows.of(x, OneOf(np.arange(500) // 250), 2, None), np.arange(500) % 5 > 0
    places = torch.cat([places for places, _ in data.pools(used, np.random.default_rng(0))]).numpy()
    assert np.array_equal(np.sort(places), np.flatnonzero(used))
    assert 10 < (places[:50] < 250).sum() < 40


def test_the_mean_of_the_weights_leaves_out_the_first_pass() -> None:
    x, labels = clouds(40, 5, 2)
    machines = Machines(Rows.of(x, OneOf(labels), 2, None), (1e-2, 1e-3), 0.1)
    machines.run(np.ones(40, bool), 40, np.random.default_rng(0), averaged=False)
    assert not machines.averages.any()
    machines.run(np.ones(40, bool), 40, np.random.default_rng(0), averaged=True)
    assert torch.equal(machines.averages, machines.weights)


def test_marks_that_are_not_judged_are_ignored() -> None:
    x, labels = clouds(150, 20, 3)
    marks = np.eye(3, dtype=np.int8)[labels]
    marks[::3, 1] = -1
    fitted = quick((1e-2,)).fit(x, AnyOf(marks), 3)
    assert fitted.link == "sigmoid"
    judged = marks >= 0
    assert ((fitted.scores(x) > 0) == (marks == 1))[judged].mean() > 0.9
    data = Rows.of(x, AnyOf(marks), 3, None)
    assert torch.equal(data.judged, torch.from_numpy(judged).float())
    machines = Machines(data, (1e-2,), 0.1)
    rows, signs = torch.from_numpy(data.standard(0, 150)), 2 * data.wanted - 1
    machines.step(rows, signs, signs * data.judged)
    expected = 0.1 * (signs * data.judged).T.double() @ rows.double() / 150  # every margin is 0
    assert_near(machines.weights[0].double(), expected, 1e-5)


def test_the_weights_of_images_are_factors_of_their_losses() -> None:
    x, labels = clouds(150, 20, 3)
    wrong = np.where(np.arange(150) < 50, (labels + 1) % 3, labels)
    fitted, ignoring = (
        quick((1e-2,)).fit(x, OneOf(wrong), 3, weights) for weights in (None, (np.arange(150) >= 50).astype(float))
    )
    correct = [(part.scores(x).argmax(1) == labels)[:50].mean() for part in (fitted, ignoring)]
    assert correct[1] > max(0.8, correct[0])


def test_the_penalty_with_the_lowest_loss_is_chosen_and_the_arrays_restore_the_part() -> None:
    x, labels = clouds(150, 20, 3)
    fitted = quick((10.0, 1e-2)).fit(x, OneOf(labels), 3)
    assert fitted.facts()["penalty"] == 1e-2
    assert fitted.losses_[1] < fitted.losses_[0]
    again = AveragedSgd((10.0, 1e-2))
    again.restore(fitted.arrays(), "model")
    assert np.array_equal(again.scores(x), fitted.scores(x))
    assert again.scores(x[:0]).shape == (0, 3)


def test_progress_ends_with_the_expected_number_of_steps() -> None:
    x, labels = clouds(60, 5, 2)
    steps = list(AveragedSgd((1e-2,), passes=3, fewest=1).fit_steps(x, OneOf(labels), 2, seed=4))
    assert steps == [(done, 7) for done in range(1, 8)]


def test_wrong_input_is_an_error() -> None:
    x, labels = clouds(60, 5, 2)
    x[3, 2] = np.nan
    with pytest.raises(UserError, match="not finite"):
        quick().fit(x, OneOf(labels), 2)
    with pytest.raises(UserError, match="at least 2 training images"):
        quick().fit(x, OneOf(np.zeros(60, np.int64)), 2)
    with pytest.raises(UserError, match="penalties is empty"):
        AveragedSgd(()).check_together("")
