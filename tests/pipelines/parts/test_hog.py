"""Blocks of HOG equal a loop over the equations, agree with scikit-image, and have the paper's number of values."""

from typing import Any

import numpy as np
import pytest
from skimage.feature import hog

from imclass.core.errors import UserError
from imclass.pipelines.parts.hog import Hog
from tests.pipelines.parts.test_dense_sift import texture


def loop_block(image: np.ndarray, x: float, y: float, part: Hog) -> np.ndarray:
    """Return the block with a centre, by a loop over the equation."""
    height, width, channels = image.shape
    half, turn = part.block * part.cell / 2, 2 * np.pi if part.signed else np.pi
    values = np.zeros((part.block, part.block, part.orientations))
    for row in range(round(y - half), round(y + half)):
        for column in range(round(x - half), round(x + half)):
            best = (0.0, 0.0)
            for k in range(channels):
                plane = image[:, :, k].astype(float)
                dx = (plane[row, column + 1] - plane[row, column - 1]) / 2 if 0 < column < width - 1 else 0.0
                dy = (plane[row + 1, column] - plane[row - 1, column]) / 2 if 0 < row < height - 1 else 0.0
                best = max(best, (dx, dy), key=lambda d: np.hypot(*d))
            v, u = (row + 0.5 - y) / part.cell, (column + 0.5 - x) / part.cell
            weight = np.hypot(*best) * np.exp(-(u * u + v * v) / (2 * (part.block / 2) ** 2))
            place = part.orientations * np.arctan2(best[1], best[0]) / turn - 0.5
            for i in range(part.block):
                for j in range(part.block):
                    middle = (part.block - 1) / 2
                    near = max(0, 1 - abs(v - i + middle)) * max(0, 1 - abs(u - j + middle))
                    for o in range(part.orientations):
                        away = (place - o) % part.orientations
                        values[i, j, o] += weight * near * max(0, 1 - min(away, part.orientations - away))
    vector = np.minimum(values.ravel() / np.linalg.norm(values), 0.2)
    return np.asarray(vector / np.linalg.norm(vector))


SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"cell": 4, "signed": True, "orientations": 12},
    {"cell": 3, "block": 3, "step": 5},
    {"cell": 6, "block": 1, "orientations": 4},
)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("channels", [1, 3])
def test_blocks_equal_a_loop_over_the_equations(settings: dict[str, Any], channels: int) -> None:
    image, part = texture(37, 45, channels), Hog(**settings)
    found = part.transform([image])
    side, step = part.block * part.cell, part.step or part.cell
    counts = [(length - side) // step + 1 for length in (37, 45)]
    assert found.values.shape == (counts[0] * counts[1], part.block**2 * part.orientations)
    assert set(found.scales.tolist()) == {side}
    for i in (0, counts[1] - 1, len(found) - 1):
        x, y = found.positions[i].tolist()
        assert np.abs(found.values[i] - loop_block(image, x, y, part)).max() < 1e-5
    margins = found.positions[0] - side / 2, (45, 37) - found.positions[-1] - side / 2
    assert ((margins[1] - margins[0] >= 0) & (margins[1] - margins[0] <= 1)).all()


def test_an_image_of_64_x_128_pixels_has_3_780_values() -> None:
    found = Hog().transform([texture(128, 64)])
    assert found.values.shape == (105, 36) and found.values.size == 3780
    assert found.positions[0].tolist() == [8, 8] and found.positions[-1].tolist() == [56, 120]
    lengths = np.linalg.norm(found.values, axis=1)
    assert np.allclose(lengths, 1, atol=1e-5) and found.values.min() >= 0


def test_directions_agree_with_scikit_image() -> None:
    """Compare cosines, because scikit-image interpolates neither between cells nor between orientations."""
    grey = texture(128, 64, 1)
    theirs = hog(grey[:, :, 0], 9, (8, 8), (2, 2), "L2-Hys").reshape(105, 4, 9)
    # They bin the angle from the row axis, so that their orientation o is our angle of 180 degrees minus theirs.
    ours = Hog().transform([grey]).values
    cosines = [(ours * theirs[..., order].reshape(105, 36)).sum(1) for order in (np.arange(9), np.arange(9)[::-1])]
    means = [float(each.mean()) for each in cosines]
    assert max(means) > 0.9


def test_brightness_contrast_and_inversion_do_not_matter() -> None:
    grey = texture(64, 64, 1)
    plain = Hog().transform([grey // 2]).values
    assert np.abs(Hog().transform([grey // 2 * 2 + 7]).values - plain).max() < 1e-4
    assert np.abs(Hog().transform([255 - grey // 2]).values - plain).max() < 1e-4
    signed = Hog(signed=True)
    assert np.abs(signed.transform([255 - grey]).values - signed.transform([grey]).values).max() > 0.1


def test_half_a_turn_reverses_blocks_and_cells() -> None:
    image = texture(48, 56)
    plain = Hog().transform([image]).values.reshape(5, 6, 2, 2, 9)
    turned = Hog().transform([np.ascontiguousarray(image[::-1, ::-1])]).values.reshape(5, 6, 2, 2, 9)
    assert np.abs(turned - plain[::-1, ::-1, ::-1, ::-1]).max() < 1e-4


def test_flat_blocks_are_kept_as_zeros() -> None:
    image = np.full((40, 80, 3), 90, np.uint8)
    image[:, 60:] = texture(40, 20)
    found = Hog().transform([image])
    flat = found.positions[:, 0] < 40
    assert np.isfinite(found.values).all() and flat.any()
    assert not found.values[flat].any() and found.values[~flat].any()
    faint = np.tile(np.array([[90, 90, 91, 91]], np.uint8)[:, :, None], (40, 10, 1))
    assert not Hog(contrast=1.0).transform([faint]).values.any()
    assert Hog(contrast=0.0).transform([faint]).values.any()
    assert not Hog(contrast=0.0).transform([np.full((40, 40, 1), 255, np.uint8)]).values.any()


def test_grey_images_equal_three_equal_channels_and_may_be_read_only() -> None:
    grey = texture(40, 40, 1)
    expected = Hog().transform([grey]).values
    assert np.array_equal(Hog().transform([np.repeat(grey, 3, 2)]).values, expected)
    grey.flags.writeable = False
    assert np.array_equal(Hog().transform([grey]).values, expected)


def test_tiny_images_are_enlarged_and_other_channels_refused() -> None:
    assert len(Hog().transform([texture(4, 30)])) == 2
    assert len(Hog(cell=2, block=1).transform([np.zeros((1, 1, 1), np.uint8)])) == 1
    assert Hog().transform([]).values.shape == (0, 36)
    with pytest.raises(UserError, match="the part hog takes images with 1 or 3 channels, and this one has 4; convert"):
        Hog().transform([np.zeros((20, 20, 4), np.uint8)])
