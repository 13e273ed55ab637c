"""Averaged descent: comparison with plain steps and with scikit-learn's optimum, rows in a file, and bad data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.svm import LinearSVC

from imclass.core.bounds import check_bounds
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf, Targets
from imclass.pipelines import averaged_descent
from imclass.pipelines.averaged_descent import Descent, ScaledRows, scaled_rows
from imclass.pipelines.parts import averaged_sgd
from imclass.pipelines.parts.averaged_sgd import AveragedSgd
from imclass.pipelines.penalised import solver_folds
from imclass.store.row_file import StoredRows
from tests.pipelines.parts.test_linear_svm import cross_entropy
from tests.pipelines.parts.test_logistic import clouds
from tests.support.tolerance import assert_near


def scale_rows(x: Any) -> ScaledRows:
    steps = scaled_rows(x)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def objective(z: np.ndarray, signs: np.ndarray, penalty: float, weights: np.ndarray, biases: np.ndarray) -> float:
    losses = np.abs(signs) * np.maximum(0, 1 - signs * (z @ weights.T + biases))
    return float(penalty / 2 * (weights**2).sum() + losses.mean(0).sum())


def scaled_weights(fitted: AveragedSgd, rows: ScaledRows) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights and biases for scaled features, before they were multiplied by the scale."""
    weights, biases = (array / fitted.scale_ for array in fitted.linear_model())
    return weights * rows.scale, biases + weights @ rows.mean


def optimum(z: np.ndarray, signs: np.ndarray, penalty: float) -> float:
    """Return the lowest objective, found by scikit-learn. Its biases are hardly penalised."""
    lowest = 0.0
    for column in signs.T:
        judged = column != 0
        share = judged.mean()
        model = LinearSVC(
            C=1 / (penalty * len(z)), loss="hinge", intercept_scaling=30, tol=1e-6, max_iter=1_000_000, random_state=0
        ).fit(z[judged], column[judged])
        lowest += objective(z[judged], column[judged, None], penalty / share, model.coef_, model.intercept_) * share
    return lowest


@pytest.mark.parametrize("count", [1, 64, 150])
def test_the_steps_of_a_block_are_those_of_a_plain_loop(count: int) -> None:
    """Make the steps of two machines with two settings one by one. Averaging begins after the first pass."""
    draws = np.random.default_rng(0)
    z = draws.normal(size=(count, 5)).astype(np.float32)
    signs, factors = draws.integers(-1, 2, (count, 2)).astype(float), draws.uniform(0.5, 2, count)
    penalties, rates = (0.1, 1e-3), (2.0, 0.5)
    descent = Descent(penalties, rates, 2, 5)
    for number in range(3):
        descent.learn(torch.from_numpy(z), signs, factors, number > 0)
    for f, (penalty, rate) in enumerate(zip(penalties, rates, strict=True)):
        for k in range(2):
            w, b, step = np.zeros(5), 0.0, 0
            visited = []
            for number in range(3):
                for i in range(count):
                    length = rate / (1 + penalty * rate * step) ** 0.75
                    sign = signs[i, k] * (signs[i, k] * (w @ z[i] + b) < 1)
                    w = w / (1 + penalty * length) + factors[i] * length * sign * z[i]
                    b, step = b + factors[i] * length * sign, step + 1
                    visited += [np.append(w, b)] * (number > 0)
            found = np.append(descent.average[f, k].numpy(), descent.bias_average[f, k])
            assert_near(found, np.mean(visited, 0), 1e-4)
            assert_near(descent.weights[f, k], w, 1e-4)


@pytest.mark.parametrize(("penalty", "within"), [(0.1, 0.01), pytest.param(0.01, 0.02, marks=pytest.mark.slow)])
def test_the_objective_is_close_to_that_of_the_optimum(penalty: float, within: float) -> None:
    x, labels = clouds(300, 20, 3)
    rows, signs = scale_rows(x), 2 * np.eye(3)[labels] - 1
    fitted, z = AveragedSgd((penalty,)).fit(x, OneOf(labels), 3), rows.read(0, 300)
    assert objective(z, signs, penalty, *scaled_weights(fitted, rows)) < (1 + within) * optimum(z, signs, penalty)


@pytest.mark.slow
def test_more_passes_are_closer_to_the_optimum() -> None:
    x, labels = clouds(150, 20, 3)
    rows, signs = scale_rows(x), 2 * np.eye(3)[labels] - 1
    z = rows.read(0, 150)
    lowest = optimum(z, signs, 0.01)
    found = [
        objective(z, signs, 0.01, *scaled_weights(AveragedSgd((0.01,), (0.3,), n).fit(x, OneOf(labels), 3), rows))
        for n in (2, 6, 30)
    ]
    assert found[0] > found[1] > found[2] and lowest <= found[2] < 1.02 * lowest


def test_several_labels_are_a_machine_a_class_and_marks_may_be_missing() -> None:
    x, labels = clouds(300, 20, 3)
    marks = np.stack([labels == 0, labels != 1, (labels == 2) | (np.arange(300) % 5 == 0)], 1).astype(np.int8)
    marks[:90, 1] = -1  # not judged
    fitted, rows = AveragedSgd((0.01,)).fit(x, AnyOf(marks), 3), scale_rows(x)
    signs = np.where(marks < 0, 0, 2.0 * marks - 1)
    assert fitted.link == "sigmoid"
    z = rows.read(0, 300)
    assert objective(z, signs, 0.01, *scaled_weights(fitted, rows)) < 1.02 * optimum(z, signs, 0.01)


@pytest.mark.parametrize("buffered", [1 << 26, 1 << 14])
def test_rows_in_a_file_give_the_same_bits(buffered: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaged_descent, "BUFFER_BYTES", buffered)
    monkeypatch.setattr(averaged_descent, "BUFFER_RUNS", 16)
    x, labels = clouds(700, 33, 4)
    x.tofile(tmp_path / "rows")
    mapped = StoredRows(tmp_path / "rows", 33, np.arange(700))
    a, b = (AveragedSgd((0.01, 1e-3), passes=3).fit(rows, OneOf(labels), 4) for rows in (x, mapped))
    for name, array in a.arrays().items():
        assert np.array_equal(array, b.arrays()[name]), name
    assert np.array_equal(a.scores(x), b.scores(mapped))


class WatchedRows:
    """Rows that remember the most of them that were read at a time."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.shape, self.most = x, x.shape, 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, chosen: slice) -> np.ndarray:
        self.most = max(self.most, len(self.x[chosen]))
        return self.x[chosen]


def test_only_a_buffer_of_rows_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = clouds(2_000, 16, 3)
    monkeypatch.setattr(averaged_descent, "BUFFER_BYTES", 64 * 100)  # 100 rows
    monkeypatch.setattr(averaged_descent, "BUFFER_RUNS", 10)
    watched = WatchedRows(x)
    list(AveragedSgd((0.01,), (0.3,), passes=2).fit_steps(watched, OneOf(labels), 3))
    assert watched.most <= 100
    for rows, positions in scale_rows(x).shuffle(np.ones(2_000, bool), (0,)):
        assert len(rows) == len(positions) <= 100


@pytest.mark.parametrize("runs", [4, 1_000])
def test_a_pass_visits_each_chosen_row_once(runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = clouds(500, 6, 3)
    monkeypatch.setattr(averaged_descent, "BUFFER_BYTES", 24 * 100)
    monkeypatch.setattr(averaged_descent, "BUFFER_RUNS", runs)
    chosen, rows = np.random.default_rng(1).random(500) < 0.6, scale_rows(x)
    passes = [[*rows.shuffle(chosen, (seed,))] for seed in (0, 1, 0)]
    orders = [np.concatenate([positions for _, positions in each]) for each in passes]
    assert np.array_equal(orders[0], orders[2]) and not np.array_equal(orders[0], orders[1])
    assert np.array_equal(np.sort(orders[0]), np.flatnonzero(chosen))
    found = torch.cat([block for block, _ in passes[0]]).numpy()
    assert np.array_equal(found, rows.read(0, 500)[orders[0]])


def test_rows_sorted_by_class_are_mixed() -> None:
    """Check that each tenth of a pass has all classes, although a buffer does not contain all rows."""
    labels = np.repeat(np.arange(4), 20_000)
    rows = ScaledRows(np.zeros((80_000, 1), np.float32), np.zeros(1), 1.0)
    order = np.concatenate([positions for _, positions in rows.shuffle(np.ones(80_000, bool), (0,))])
    assert rows.buffers > 1
    for part in np.array_split(labels[order], 10):
        assert np.bincount(part, minlength=4).min() > 0.15 * len(part)


def test_the_mean_length_of_scaled_rows_is_one() -> None:
    x, _ = clouds(50, 6, 3)
    z = scale_rows(x).read(0, 50)
    assert np.abs(z.mean(0)).max() < 1e-6
    assert (z.astype(float) ** 2).sum(1).mean() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_penalty_and_scale_have_the_lowest_cross_entropy_on_held_out_images(link: str) -> None:
    """Fit machines to the images that are not held out, and calibrate their margins with SciPy."""
    x, labels = clouds(200, 20, 3)
    wanted = np.eye(3)[labels]
    targets: Targets = OneOf(labels) if link == "softmax" else AnyOf(wanted.astype(np.int8))
    held = solver_folds(targets, 3, 5) == 0
    penalties = (1.0, 0.1, 0.01)
    fitted, rows = AveragedSgd(penalties, (0.3,)).fit(x, targets, 3), scale_rows(x)
    smooth = (held.sum() * wanted[held] + 1) / (held.sum() + (3 if link == "softmax" else 2))
    losses, scales = [], []
    for penalty in penalties:
        descent = Descent([penalty], [0.3], 3, 20)
        for number in range(10):
            for block, positions in rows.shuffle(~held, (0, 1, number)):
                descent.learn(block, 2 * wanted[positions] - 1, np.ones(len(positions)), number > 0)
        margins = rows.read(0, 200)[held] @ descent.average[0].numpy().T + descent.bias_average[0]
        best = minimize_scalar(lambda t, m=margins: cross_entropy(np.exp(t) * m, smooth, link), bounds=(-5, 10))
        scales.append(np.exp(best.x))
        losses.append(cross_entropy(scales[-1] * margins, wanted[held], link))
    chosen = int(np.argmin(losses))
    assert_near(fitted.losses_, np.array(losses), 1e-3)
    assert fitted.facts() == {
        "penalty": penalties[chosen],
        "rate": 0.3,
        "scale": pytest.approx(scales[chosen], rel=1e-3),
        "held_out": int(held.sum()),
        "losses": dict(zip(map(str, penalties), fitted.losses_.tolist(), strict=True)),
    }


def test_the_rate_has_the_lowest_objective_on_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = clouds(200, 20, 3)
    monkeypatch.setattr(averaged_sgd, "SAMPLE", 100)
    fitted = AveragedSgd((0.01,), (1e-6, 0.3, 1e3)).fit(x, OneOf(labels), 3)
    assert fitted.rate_ == 0.3


def test_settings_that_are_fitted_one_after_the_other_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = clouds(120, 20, 3)
    part = AveragedSgd((0.1, 0.01, 1e-3), passes=3)
    together = part.fit(x, OneOf(labels), 3).scores(x)
    monkeypatch.setattr(averaged_sgd, "GROUP_BYTES", 1)
    steps = [*part.fit_steps(x, OneOf(labels), 3)]
    assert_near(part.scores(x), together, 1e-3)
    counted = [done for done, expected in steps if expected > 1]
    assert counted == [*range(1, 12), 11, 12] and steps[-1] == (12, 12)


def test_the_weights_of_images_are_factors_of_their_losses() -> None:
    """Double the images of a class instead. Only the ratios of the weights matter."""
    x, labels = clouds(150, 20, 3)
    doubled = np.concatenate([np.arange(150), np.flatnonzero(labels == 0)])
    a, b, plain = (
        AveragedSgd((0.01,), (0.3,), passes=6).fit(x[chosen], OneOf(labels[chosen]), 3, weights)
        for chosen, weights in ((slice(None), 7.0 * (1 + (labels == 0))), (doubled, None), (slice(None), None))
    )
    predicted = [fitted.scores(x).argmax(1) for fitted in (a, b, plain)]
    assert (predicted[0] == predicted[1]).mean() > 0.95
    assert (predicted[0] == 0).sum() > (predicted[2] == 0).sum()


def test_the_scores_of_a_row_do_not_depend_on_other_rows() -> None:
    x, labels = clouds(100, 200, 3)
    fitted = AveragedSgd((0.01,), (0.3,), passes=2).fit(x, OneOf(labels), 3)
    single = np.concatenate([fitted.scores(x[i : i + 1]) for i in range(100)])
    assert_near(single, fitted.scores(x), 1e-12)


def test_the_seed_decides_the_bits() -> None:
    x, labels = clouds(100, 20, 3)
    found = []
    for seed in (0, 1, 0):
        part = AveragedSgd((0.01,), passes=2)
        assert [*part.fit_steps(x, OneOf(labels), 3, seed)][-1] == (4, 4)
        found.append(part.scores(x))
    assert np.array_equal(found[0], found[2]) and not np.array_equal(found[0], found[1])


def test_features_without_variance_give_finite_scores() -> None:
    _, labels = clouds(60, 5, 3)
    fitted = AveragedSgd(passes=2).fit(np.full((60, 5), 1e6, np.float32), OneOf(labels), 3)
    assert np.isfinite(fitted.scores(np.ones((2, 5), np.float32))).all()


def test_features_that_are_not_finite_are_refused() -> None:
    x, labels = clouds(30, 10, 3)
    x[4, 3] = np.nan
    with pytest.raises(UserError, match="not finite"):
        AveragedSgd().fit(x, OneOf(labels), 3)


def test_a_class_with_one_image_is_refused() -> None:
    x, _ = clouds(9, 10, 2)
    with pytest.raises(UserError, match="needs at least 2 training images"):
        AveragedSgd().fit(x, OneOf(np.eye(9, dtype=np.int64)[4]), 2)


@pytest.mark.parametrize("settings", [{"penalties": ()}, {"rates": (-1.0,)}, {"passes": 1}, {"held_out": 0.9}])
def test_unsuitable_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(settings)).replace("_", "-")):
        check_bounds(replace(AveragedSgd(), **settings))


def test_a_fitted_part_is_restored_from_its_arrays() -> None:
    x, labels = clouds(60, 10, 3)
    fitted, other = AveragedSgd(passes=2).fit(x, AnyOf(np.eye(3, dtype=np.int8)[labels]), 3), AveragedSgd()
    other.restore(fitted.arrays(), "here")
    assert np.array_equal(other.scores(x), fitted.scores(x)) and other.link == "sigmoid"
    assert other.facts() == fitted.facts() and other.scores(x[:0]).shape == (0, 3)
