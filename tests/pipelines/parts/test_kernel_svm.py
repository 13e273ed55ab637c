"""Kernel machines: exact kernels, comparison with scikit-learn and with linear machines, and data that is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics.pairwise import chi2_kernel, rbf_kernel
from sklearn.svm import LinearSVC

from imclass.core.bounds import check_bounds
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf
from imclass.pipelines import rows
from imclass.pipelines.kernels import TERMS, Kernel, pair_sums, self_sums
from imclass.pipelines.parts import kernel_svm
from imclass.pipelines.parts.kernel_svm import KernelSvm
from imclass.pipelines.parts.linear_svm import LinearSvm
from tests.pipelines.parts.test_logistic import clouds
from tests.support.tolerance import assert_near

NAMES: tuple[Kernel, ...] = ("chi2", "intersection", "jensen-shannon", "linear")


def histograms(images: int, width: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return histograms with sum 1 and many zeros, and labels of classes that overlap."""
    draws = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    x = draws.dirichlet(np.full(width, 0.3), images) + draws.dirichlet(np.full(width, 0.3), classes)[labels]
    x[draws.random(x.shape) < 0.3] = 0
    return (x / x.sum(1, keepdims=True)).astype(np.float32), labels


def exact_term(kernel: str, a: float, b: float) -> float:
    if kernel == "linear":
        return a * b
    if a == 0 or b == 0:
        return 0.0
    if kernel == "chi2":
        return 2 * a * b / (a + b)
    if kernel == "intersection":
        return min(a, b)
    return float(a / 2 * np.log2((a + b) / a) + b / 2 * np.log2((a + b) / b))


def exact_kernel(kernel: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([[sum(map(exact_term, [kernel] * len(a), a, b)) for b in y.tolist()] for a in x.tolist()])


@pytest.mark.parametrize("kernel", NAMES)
def test_kernels_are_those_of_plain_loops(kernel: Kernel) -> None:
    x, y = histograms(5, 150)[0], histograms(7, 150, seed=1)[0]
    x[1], y[2] = 0, 0
    x[2, :20], y[3, :20] = 1e-30, np.float32(1e-40)  # a product is below the smallest float32
    assert_near(pair_sums(kernel, x, y.T.copy()), exact_kernel(kernel, x, y), 1e-6)
    assert_near(self_sums(kernel, x), exact_kernel(kernel, x, x).diagonal(), 1e-6)
    assert kernel == "linear" or kernel in TERMS


def test_exponential_kernels_are_those_of_scikit_learn() -> None:
    x, labels = histograms(30, 20)
    peers: dict[Kernel, Any] = {"chi2": chi2_kernel, "linear": rbf_kernel}
    for kernel, peer in peers.items():
        fitted = KernelSvm(kernel, True, grid=(1.0,), folds=2).fit(x, OneOf(labels), 3)
        distances = -np.log(peer(x.astype(np.float64), gamma=1.0))
        assert fitted.gamma_ == pytest.approx(30 * 29 / distances.sum(), rel=1e-5)
        supports = fitted.supports_.T.astype(np.float64)
        similar = peer(x.astype(np.float64), supports, gamma=float(fitted.gamma_))
        assert_near(fitted.scores(x), similar @ fitted.coefficients_.T + fitted.biases_, 1e-5)


def scaled_kernel(kernel: str, x: np.ndarray) -> np.ndarray:
    matrix = exact_kernel(kernel, x, x)
    return matrix / (matrix.trace() / len(x) - matrix.mean())


def feature_space(matrix: np.ndarray) -> np.ndarray:
    """Return rows whose inner products are the kernel."""
    values, vectors = np.linalg.eigh(matrix)
    found: np.ndarray = vectors * np.sqrt(np.maximum(values, 0))
    return found


@pytest.mark.parametrize("kernel", NAMES)
@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_margins_are_those_of_scikit_learn(kernel: Kernel, strength: float) -> None:
    x, labels = histograms(36, 20)
    z = feature_space(scaled_kernel(kernel, x))
    peer = LinearSVC(C=strength, tol=1e-10, dual=False, intercept_scaling=1e4, max_iter=100_000).fit(z, labels)
    fitted = KernelSvm(kernel, grid=(strength,), folds=2).fit(x, OneOf(labels), 3)
    assert_near(fitted.scores(x) / fitted.scale_, peer.decision_function(z), 1e-3)


def test_support_vectors_are_the_images_within_the_margin() -> None:
    x, labels = histograms(40, 20, 2)
    fitted = KernelSvm("intersection", grid=(30.0,), folds=2).fit(x, OneOf(labels), 2)
    margins = (2 * labels - 1) * fitted.scores(x)[:, 1] / fitted.scale_
    within = margins < 1 - 1e-6
    assert 2 <= within.sum() == fitted.facts()["support_vectors"] < 40
    assert np.array_equal(fitted.supports_, x[within].T)
    assert np.abs(fitted.coefficients_.sum(1)).max() < 1e-9 * np.abs(fitted.coefficients_).max()


def test_several_labels_are_a_machine_a_class_and_marks_may_be_missing() -> None:
    """Minimise the objective of each machine with SciPy, without the images that are not annotated."""
    x, labels = histograms(40, 20)
    marks = np.stack([labels == 0, labels != 1], 1).astype(np.int8)
    marks[:9, 1] = -1
    fitted = KernelSvm("chi2", grid=(1.0,), folds=2).fit(x, AnyOf(marks), 2)
    assert fitted.link == "sigmoid"
    z = np.append(feature_space(scaled_kernel("chi2", x)), np.ones((40, 1)), 1)
    for k in range(2):
        judged = marks[:, k] >= 0
        signs = 2.0 * marks[judged, k] - 1

        def objective(w: np.ndarray, rows: np.ndarray = z[judged], signs: np.ndarray = signs) -> Any:
            short = np.maximum(1 - signs * (rows @ w), 0)
            penalised = np.append(w[:-1], 0)
            return (short**2).sum() + (penalised**2).sum() / 2, penalised - 2 * (signs * short) @ rows

        best = minimize(objective, np.zeros(41), jac=True, options={"gtol": 1e-9, "maxiter": 1_000})
        assert_near(fitted.scores(x)[:, k] / fitted.scale_, z @ best.x, 1e-4)


def test_the_linear_kernel_gives_the_choices_and_scores_of_linear_machines() -> None:
    x, labels = clouds(60, 20, 3)
    grid = (1e-3, 1e-2, 0.1)
    linear = LinearSvm(grid, scaling="common").fit(x, OneOf(labels), 3)
    found = KernelSvm("linear", grid=tuple(20 * strength for strength in grid)).fit(x, OneOf(labels), 3)
    assert found.strength_ == pytest.approx(20 * linear.strength_)
    assert found.scale_ == pytest.approx(linear.scale_, rel=1e-4)
    assert_near(found.scores(x), linear.scores(x), 1e-4)
    assert list(found.facts()["losses"].values()) == pytest.approx(list(linear.facts()["losses"].values()), rel=1e-5)


def test_blocks_and_threads_do_not_change_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = histograms(40, 200)
    expected = KernelSvm(grid=(1.0,), folds=2).fit(x, OneOf(labels), 3)
    monkeypatch.setattr(rows, "BLOCK_NUMBERS", 40 * 64)
    monkeypatch.setattr(kernel_svm, "GROUP", 7)
    found = KernelSvm(grid=(1.0,), folds=2)
    steps = list(found.fit_steps(x, OneOf(labels), 3))
    assert steps[0] == (1, 6 * 4 + 2) and steps[-1] == (6 * 4 + 2, 6 * 4 + 2)
    assert_near(found.scores(x), expected.scores(x), 1e-5)
    assert_near(np.concatenate([expected.scores(x[i : i + 1]) for i in range(40)]), expected.scores(x), 1e-12)
    assert expected.scores(x[:0]).shape == (0, 3)


def test_a_fitted_part_is_restored_from_its_arrays() -> None:
    x, labels = histograms(30, 10)
    marks = np.stack([labels == k for k in range(3)], 1).astype(np.int8)
    fitted, other = KernelSvm(grid=(1.0,), folds=2).fit(x, AnyOf(marks), 3), KernelSvm(grid=(1.0,), folds=2)
    other.restore(fitted.arrays(), "here")
    assert np.array_equal(other.scores(x), fitted.scores(x)) and other.link == "sigmoid"
    assert other.facts() == fitted.facts()


@pytest.mark.parametrize("exponential", [False, True])
def test_rows_of_zeros_and_equal_rows_have_finite_scores(exponential: bool) -> None:
    x, labels = histograms(30, 10)
    x[:4] = 0
    part = KernelSvm(exponential=exponential, grid=(1.0,), folds=2)
    assert np.isfinite(part.fit(x, OneOf(labels), 3).scores(np.zeros((2, 10), np.float32))).all()
    for value in (0, 0.1):
        scores = replace(part).fit(np.full_like(x, value), OneOf(labels), 3).scores(np.full_like(x, value))
        assert np.isfinite(scores).all() and np.ptp(scores, 0).max() < 1e-9


def test_unsuitable_data_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = histograms(30, 10)
    fitted = KernelSvm(grid=(1.0,), folds=2).fit(x, OneOf(labels), 3)
    with pytest.raises(UserError, match=r"needs at least 2 training images.*class number 1, there are 29 with it"):
        KernelSvm().fit(x, OneOf((labels < 0) | (np.arange(30) == 4) + 0), 2)
    x[1, 2] = -0.25
    for use in (lambda: KernelSvm().fit(x, OneOf(labels), 3), lambda: fitted.scores(x)):
        with pytest.raises(UserError, match=r"kernel-svm with the chi2 kernel needs rows without negative.*-0.25"):
            use()
    assert np.isfinite(KernelSvm("linear", grid=(1.0,), folds=2).fit(x, OneOf(labels), 3).scores(x)).all()
    x[1, 2] = np.nan
    for kernel in NAMES:
        with pytest.raises(UserError, match="not finite"):
            KernelSvm(kernel).fit(x, OneOf(labels), 3)
    monkeypatch.setattr(kernel_svm, "MOST_IMAGES", 29)
    with pytest.raises(UserError, match=r"30 images would take too much memory \(the limit is 29\); put kernel-map"):
        KernelSvm().fit(x, OneOf(labels), 3)


@pytest.mark.parametrize("settings", [{"grid": ()}, {"grid": (1.0, 0.1)}, {"folds": 1}, {"gamma": -1.0}])
def test_unsuitable_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        check_bounds(replace(KernelSvm(), **settings))
