"""The eigenvectors are exact in any order and any arrays of images. All pixels of an image get the same shift."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imclass.core.errors import UserError
from imclass.core.randomness import Draws
from imclass.data.augment.flip import Flip
from imclass.data.augment.measuring import is_measuring_kind, with_measured
from imclass.data.augment.pca_colour import BLOCK, PcaColour, pixel_covariance, scaled_eigenvectors

AXES = np.array([[0.1, 0.1, 0.1], [0.02, 0.0, -0.02], [0.002, -0.004, 0.002]], np.float32)


def photos(n: int = 40, size: int = 50, channels: int = 3) -> np.ndarray:
    """Return images whose channels depend on one another. Their pixels do not fit into one block."""
    generator = np.random.default_rng(0)
    mixing = generator.uniform(-1, 1, (channels, channels))
    levels = 128 + 40 * generator.standard_normal((n, size, size + 1, channels)) @ mixing
    return levels.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_eigenvectors_are_those_of_the_covariance_of_all_pixels(channels: int) -> None:
    every = photos(channels=channels)
    assert every.size // channels > BLOCK
    plain = np.cov(every.reshape(-1, channels).T.astype(np.float64) / 255, bias=True).reshape(channels, channels)
    axes = PcaColour().measure(np.array_split(every, 7)).astype(np.float64)
    values = np.linalg.norm(axes, axis=1)
    assert np.isclose(values.sum(), np.trace(plain), rtol=1e-6) and (np.diff(values) <= 0).all()
    vectors = axes / values[:, None]
    assert np.allclose(vectors @ vectors.T, np.eye(channels), atol=1e-6)
    assert np.allclose(vectors.T @ np.diag(values) @ vectors, plain, rtol=0, atol=1e-6 * values[0])
    assert (vectors[np.arange(channels), np.abs(vectors).argmax(1)] > 0).all()


def test_the_covariance_is_exact() -> None:
    """Compare with whole numbers of any size. The sums of these pixels exceed the exact range of float32."""
    every = np.full((3, 100, 100, 3), 254, np.uint8)
    every[1, ::2] = (0, 255, 7)
    pixels = [[int(level) for level in pixel] for pixel in every.reshape(-1, 3)]
    n = len(pixels)
    total = [sum(pixel[c] for pixel in pixels) for c in range(3)]
    for a, b in ((0, 0), (0, 1), (2, 1)):
        products = sum(pixel[a] * pixel[b] for pixel in pixels)
        assert pixel_covariance([every])[a, b] == (n * products - total[a] * total[b]) / (255 * n) ** 2


def test_order_and_sizes_of_the_arrays_change_no_bit() -> None:
    every = photos()
    first = PcaColour().measure([every])
    order = np.random.default_rng(1).permutation(len(every))
    for parts in (np.array_split(every, 40), np.array_split(every[order], 13), [every[:0], every[5:], every[:5]]):
        assert np.array_equal(PcaColour().measure(iter(parts)), first)
    # The twin: a mean of the covariances of parts has other bits.
    parts = [np.cov(part.reshape(-1, 3).T / np.float32(255), bias=True) for part in np.array_split(every, 7)]
    assert not np.array_equal(scaled_eigenvectors(np.mean(parts, axis=0)), first)


def test_colours_of_no_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"none of them can be read; .* leave pca-colour out of --augment"):
        PcaColour().measure([np.zeros((0, 4, 4, 3), np.uint8)])


def test_images_in_grey_have_one_axis() -> None:
    grey = np.repeat(photos(4, 9, 1), 3, axis=3)
    values = np.linalg.norm(PcaColour().measure([grey]), axis=1)
    assert values[0] > 0.001 and (values[1:] < 1e-9).all()


def test_all_pixels_get_the_shift_of_the_papers_formula() -> None:
    view = np.random.default_rng(0).integers(110, 140, (5, 6, 3), dtype=np.uint8)
    rule, shifts = PcaColour(deviation=0.5).with_measured(AXES), []
    for id in range(100):
        found = rule.colour(view.copy(), Draws(3, 4), id).astype(int) - view
        assert (found == found[0, 0]).all()
        draw = torch.tensor([Draws(3, 4).uniform(np.array([id]), f"alpha.{i}")[0] for i in range(3)])
        alpha = (0.5 * torch.special.ndtri(draw)).tolist()
        plain = [255 * sum(alpha[i] * float(AXES[i, c]) for i in range(3)) for c in range(3)]
        assert np.abs(found[0, 0] - plain).max() <= 0.5 + 1e-6
        shifts.append(found[0, 0])
    deviation = np.sqrt((np.float64(AXES) ** 2).sum(0)) * 255 * 0.5
    assert np.allclose(np.std(shifts, axis=0), deviation, rtol=0.25) and len(np.unique(shifts, axis=0)) > 50
    assert not np.array_equal(rule.colour(view.copy(), Draws(3, 5), 1), rule.colour(view.copy(), Draws(3, 4), 1))


def test_a_deviation_of_zero_changes_nothing() -> None:
    view = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    assert np.array_equal(PcaColour(deviation=0.0).with_measured(AXES).colour(view.copy(), Draws(0), 9), view)


def test_the_lowest_draw_is_allowed() -> None:
    class Lowest(Draws):
        def uniform(self, ids: np.ndarray, stream: str, repeat: int = 0) -> np.ndarray:
            return np.zeros(len(ids))

    found = PcaColour().with_measured(AXES).colour(np.full((1, 1, 3), 128, np.uint8), Lowest(0), 1)
    assert (found < 128).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sum_is_clipped(channels: int) -> None:
    view = np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 2, channels))
    axes = np.full((channels, channels), 0.15 / channels, np.float32)
    found = [PcaColour(1.0).with_measured(axes).colour(view.copy(), Draws(0), id) for id in range(20)]
    shifts = [int(np.median(one.astype(int) - view)) for one in found]
    assert min(shifts) < 0 < max(shifts)
    for one, shift in zip(found, shifts, strict=True):
        assert np.array_equal(one, (view.astype(int) + shift).clip(0, 255)) and one.shape == view.shape


def test_only_kinds_with_numbers_are_changed() -> None:
    rules = (Flip(), PcaColour(0.2))
    assert with_measured(rules, {}) == rules
    flip, shift = with_measured(rules, {"pca-colour": AXES, "flip": AXES})
    assert flip == Flip() and shift.kind == "pca-colour" and shift.deviation == 0.2  # type: ignore[attr-defined]
    assert [is_measuring_kind(rule) for rule in rules] == [False, True]
    with pytest.raises(TypeError, match="pca-colour has no eigenvectors; call `with_measured` first"):
        replace(PcaColour()).colour(np.zeros((2, 2, 3), np.uint8), Draws(0), 1)
