"""Principal axes of scaled features: comparison with numpy, and wide matrices that are read in blocks."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.pipelines import rows as matrices
from imclass.pipelines.parts.linear_svm import LinearSvm
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.principal_axes import PrincipalAxes, scaled_features
from tests.pipelines.parts.test_logistic import clouds, common_scores, standard_scores
from tests.support.tolerance import assert_near

SHAPES = [(40, 20), (30, 100)]  # narrow and wide


@dataclass
class FileOfRows:
    """Stands for a file, and counts how often each column is read."""

    array: np.ndarray
    most: int = 0  # numbers that were read at once
    times: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.times = np.zeros(self.array.shape[1], np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, chosen: slice) -> np.ndarray:
        found = self.array[chosen].copy()
        self.most = max(self.most, found.size)
        return found

    def columns(self, low: int, high: int) -> np.ndarray:
        self.times[low:high] += 1
        found = self.array[:, low:high].copy()
        self.most = max(self.most, found.size)
        return found


def axes_of(x: np.ndarray | FileOfRows, common: bool) -> PrincipalAxes:
    features = scaled_features(x, (common,))
    assert list(features.prepare()) == list(range(1, features.steps + 1))
    return features.axes(common)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Read at most 210 numbers at a time: 7 of 100 columns of 30 images."""
    monkeypatch.setattr(matrices, "BLOCK_NUMBERS", 210)
    return 210


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize(("images", "width"), SHAPES)
@pytest.mark.usefixtures("small_blocks")
def test_axes_keep_inner_products_and_are_uncorrelated(images: int, width: int, common: bool) -> None:
    x, _ = clouds(images, width, 3)
    z, rows = (common_scores if common else standard_scores)(x), axes_of(x, common).rows.numpy()
    assert (rows[:, -1] == 1).all() and rows.shape[1] <= min(images, width) + 1
    assert_near(rows[:, :-1] @ rows[:, :-1].T, z @ z.T, 1e-9)
    products = rows[:, :-1].T @ rows[:, :-1]
    assert_near(products, np.diag(np.diag(products)), 1e-9)


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize(("images", "width"), SHAPES)
@pytest.mark.usefixtures("small_blocks")
def test_weights_for_features_give_the_scores_of_weights_for_axes(images: int, width: int, common: bool) -> None:
    x, _ = clouds(images, width, 3)
    axes = axes_of(x, common)
    found = torch.from_numpy(np.random.default_rng(0).normal(size=(3, axes.rows.shape[1])))
    weights, biases = axes.undo(found)
    assert_near(x.astype(np.float64) @ weights.T.numpy() + biases.numpy(), (axes.rows @ found.T).numpy(), 1e-9)
    assert (weights[:, 0] == 0).all()  # the first feature is constant
    spread = x.astype(np.float64).std(0)
    scale = np.sqrt((spread**2).mean()) if common else spread
    assert_near(((weights.numpy() * scale) ** 2).sum(1), (found[:, :-1] ** 2).sum(1).numpy(), 1e-9)


@pytest.mark.parametrize("part", [LinearSvm, Logistic])
def test_a_wide_file_is_read_in_blocks_with_the_result_of_an_array(
    part: type[LinearSvm | Logistic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read each column once for both scalings, and once for the weights."""
    x, labels = clouds(30, 100, 3)
    grid = (1e-4, 1e-3, 1e-2)
    whole, file = part(grid).fit(x, OneOf(labels), 3), FileOfRows(x)
    monkeypatch.setattr(matrices, "BLOCK_NUMBERS", 210)
    found = part(grid).fit(file, OneOf(labels), 3)
    assert file.most == 210 and (file.times == 2).all()
    assert_near(found.linear_model()[0], whole.linear_model()[0], 1e-6)
    assert found.facts()["strength"] == whole.facts()["strength"]
    assert_near(found.scores(file), found.scores(x), 1e-9)
    assert file.most == 210


def test_a_narrow_file_gives_the_bits_of_an_array() -> None:
    x, labels = clouds(60, 20, 3)
    found, expected = (
        LinearSvm((1e-3, 1e-2)).fit(each, OneOf(labels), 3).linear_model() for each in (FileOfRows(x), x)
    )
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("images", "width"), SHAPES)
def test_rounding_errors_do_not_become_features(images: int, width: int) -> None:
    """Change a constant feature of one image by the smallest possible amount."""
    x, _ = clouds(images, width, 3)
    x[:, 0] = np.float32(0.1)
    expected = axes_of(x, False)
    x[3, 0] = np.nextafter(x[3, 0], np.float32(1))
    axes = axes_of(x, False)
    assert_near(axes.rows @ axes.rows.T, expected.rows @ expected.rows.T, 1e-9)
    weights, _ = axes.undo(torch.ones(1, axes.rows.shape[1]).double())
    assert weights[0, 0] == 0


@pytest.mark.parametrize("common", [False, True])
def test_constant_features_alone_give_no_axes(common: bool) -> None:
    axes = axes_of(np.full((4, 9), 3.25, np.float32), common)
    assert axes.rows.shape == (4, 1)
    weights, biases = axes.undo(torch.tensor([[2.0]]).double())
    assert not weights.any() and biases.item() == 2


@pytest.mark.usefixtures("small_blocks")
def test_a_feature_in_the_last_block_that_is_not_finite_is_refused() -> None:
    x, labels = clouds(30, 100, 3)
    x[4, 99] = np.nan
    with pytest.raises(UserError, match="not finite"):
        LinearSvm().fit(x, OneOf(labels), 3)


@pytest.mark.parametrize(("scaling", "scalings"), [("common", 1), ("standardised", 1), ("auto", 2)])
@pytest.mark.usefixtures("small_blocks")
def test_a_fit_shows_its_progress(scaling: str, scalings: int) -> None:
    """Count 15 blocks, the strengths for each scaling in use, even if the search ends early, and the final fit."""
    x, labels = clouds(30, 100, 3)
    part = LinearSvm((1e-4, 1e-2), scaling=scaling)  # type: ignore[arg-type]
    steps = list(part.fit_steps(x, OneOf(labels), 3))
    expected = 15 + 2 * scalings + 1
    assert {total for _, total in steps} == {expected} and steps[-1][0] == expected
    done = [number for number, _ in steps]
    assert done == sorted(done) and set(done) == set(range(1, expected + 1))


def test_a_fit_that_was_interrupted_has_not_been_fitted() -> None:
    x, labels = clouds(30, 100, 3)
    part = LinearSvm()
    next(part.fit_steps(x, OneOf(labels), 3))
    with pytest.raises(UserError, match="has not been fitted"):
        part.scores(x)
