"""Local binary patterns equal scikit-image's, and their histograms equal a loop over patches."""

import numpy as np
import pytest
from skimage.feature import local_binary_pattern

from imclass.core.errors import UserError
from imclass.pipelines.parts.lbp import LocalBinaryPatterns, patterns, uniform_bins

RANDOM = np.random.default_rng(0).integers(0, 256, (43, 50, 3), np.uint8)
GREY = RANDOM[:, :, :1]


def theirs(grey: np.ndarray, radius: float, method: str = "nri_uniform") -> np.ndarray:
    """Return scikit-image's patterns of an image whose edges are repeated."""
    padding = int(np.ceil(radius)) + 1
    found = local_binary_pattern(np.pad(grey, padding, mode="edge"), 8, radius, method)
    return np.asarray(found[padding:-padding, padding:-padding], int)


@pytest.mark.parametrize("radius", [1.0, 1.5, 2.0, 3.0])
def test_patterns_equal_scikit_image(radius: float) -> None:
    grey = GREY[:, :, 0]
    found = patterns(grey, radius)
    assert np.array_equal(found, theirs(grey, radius, "default"))
    assert np.array_equal(uniform_bins()[found], theirs(grey, radius))


def test_there_are_58_uniform_patterns_and_a_bin_for_the_others() -> None:
    bins = uniform_bins()
    changes = np.array([bin(p ^ (p >> 1 | (p & 1) << 7)).count("1") for p in range(256)])
    assert sorted(bins[changes <= 2].tolist()) == list(range(58))
    assert set(bins[changes > 2].tolist()) == {58}


@pytest.mark.parametrize(("patch", "step"), [(16, 8), (9, 4), (7, 7), (5, 12)])
def test_histograms_equal_a_loop(patch: int, step: int) -> None:
    found = LocalBinaryPatterns(patch=patch, step=step, root=False).transform([GREY])
    bins = theirs(GREY[:, :, 0], 1)
    starts = [range((n - patch) % step // 2, n - patch + 1, step) for n in GREY.shape[:2]]
    assert len(found) == len(starts[0]) * len(starts[1]) and found.values.shape[1] == 59
    expected = [
        np.bincount(bins[y : y + patch, x : x + patch].ravel(), minlength=59) / patch**2
        for y in starts[0]
        for x in starts[1]
    ]
    assert np.abs(found.values - expected).max() < 1e-6
    centres = [[x + patch / 2, y + patch / 2] for y in starts[0] for x in starts[1]]
    assert found.positions.tolist() == centres and set(found.scales.tolist()) == {patch}
    rooted = LocalBinaryPatterns(patch=patch, step=step).transform([GREY]).values
    assert np.abs(rooted**2 - found.values).max() < 1e-6
    assert np.allclose(np.linalg.norm(rooted, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("radius", [1.0, 1.3, 2.0])
def test_equal_pixels_are_never_taken_for_darker_ones(radius: float) -> None:
    tiles = np.repeat(np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16), 9, 0), 9, 1)
    assert (patterns(tiles, radius)[4::9, 4::9] == 255).all()
    assert LocalBinaryPatterns().transform([np.full((16, 16, 3), 7, np.uint8)]).values[0, 57] == 1


def test_four_rounded_weights_would_take_equal_pixels_for_darker_ones() -> None:
    levels, share = np.arange(256.0), np.linspace(0.01, 0.99, 99)[:, None]
    weights = ((1 - share) ** 2, (1 - share) * share, share * (1 - share), share**2)
    assert (sum(weight * levels for weight in weights) < levels).any()


def test_brightness_and_contrast_do_not_matter() -> None:
    part, grey = LocalBinaryPatterns(), GREY // 2
    assert np.array_equal(part.transform([grey]).values, part.transform([2 * grey + 1]).values)


def test_colours_become_grey_and_arrays_may_be_read_only() -> None:
    luma = RANDOM @ np.array([0.299, 0.587, 0.114])
    rounded = np.round(luma).astype(np.uint8)[:, :, None]
    part = LocalBinaryPatterns()
    ours, expected = part.transform([RANDOM]).values, part.transform([rounded]).values
    assert np.abs(ours - expected).mean() < 0.01  # Pillow rounds a few values to their neighbour
    grey = GREY.copy()
    grey.flags.writeable = False
    assert np.array_equal(part.transform([grey]).values, part.transform([np.repeat(grey, 3, 2)]).values)


def test_small_images_are_enlarged_and_other_channels_refused() -> None:
    part = LocalBinaryPatterns()
    assert len(part.transform([np.zeros((1, 20, 3), np.uint8)])) == 1
    assert part.transform([]).values.shape == (0, 59)
    with pytest.raises(UserError, match="lbp takes images with 1 or 3 channels, and this one has 2; convert"):
        part.transform([np.zeros((20, 20, 2), np.uint8)])
