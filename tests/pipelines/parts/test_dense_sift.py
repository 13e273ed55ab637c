"""Dense SIFT equals a loop over its equations, agrees with OpenCV, and has SIFT's invariances."""

import warnings
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from imclass.pipelines.parts.dense_sift import DenseSift, smooth


def texture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return an image with structure at several scales, with values from 40 to 200."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, channels))
    for side in (4, 10, 25):
        coarse = random.standard_normal((side, side, channels)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(total.shape)
    return np.round(40 + 160 * (total - total.min()) / np.ptp(total)).astype(np.uint8)


def loop_sift(grey: np.ndarray, centre: np.ndarray, bin: int) -> np.ndarray:
    """Return the descriptor of the patch at a centre, by a loop over the equation of the smoothed image."""
    image = np.pad(grey, 1, mode="edge")
    values = np.zeros((4, 4, 8))
    x, y = centre.tolist()
    for row in range(grey.shape[0]):
        for column in range(grey.shape[1]):
            dx = (image[row + 1, column + 2] - image[row + 1, column]) / 2
            dy = (image[row + 2, column + 1] - image[row, column + 1]) / 2
            v, u = (row + 0.5 - y) / bin, (column + 0.5 - x) / bin
            if max(abs(u), abs(v)) >= 2.5:
                continue
            weight = np.hypot(dx, dy) * np.exp(-(u * u + v * v) / 8)
            turn = np.arctan2(dy, dx) * 8 / (2 * np.pi)
            for i in range(4):
                for j in range(4):
                    near = max(0, 1 - abs(v - i + 1.5)) * max(0, 1 - abs(u - j + 1.5))
                    for o in range(8):
                        away = (turn - o) % 8
                        values[i, j, o] += weight * near * max(0, 1 - min(away, 8 - away))
    vector = values.ravel() / np.linalg.norm(values)
    vector = np.minimum(vector, 0.2)
    return vector / np.linalg.norm(vector)


def test_descriptors_equal_a_loop_over_the_equations() -> None:
    grey = texture(40, 46, 1)
    found = DenseSift(scales=2, root=False).transform([grey])
    for i in (0, 7, len(found) - 1):
        side = int(found.scales[i]) // 4
        sigma = max(0, (side / 6) ** 2 - 0.25) ** 0.5
        smoothed = smooth(torch.from_numpy(grey[:, :, 0]).float(), sigma).double().numpy()
        expected = loop_sift(smoothed, found.positions[i], side)
        assert np.abs(found.values[i] - expected).max() < 1e-5
    rooted = DenseSift(scales=2).transform([grey]).values
    expected_root = np.sqrt(found.values / found.values.sum(1, keepdims=True))
    assert np.abs(rooted - expected_root).max() < 1e-5
    assert np.allclose(np.linalg.norm(rooted, axis=1), 1, atol=1e-5)


def test_smoothing_equals_opencv() -> None:
    channel = texture(30, 40, 1)[:, :, 0].astype(np.float32)
    expected = cv2.GaussianBlur(channel, (13, 13), 1.5, borderType=cv2.BORDER_REPLICATE)
    assert np.abs(smooth(torch.from_numpy(channel), 1.5).numpy() - expected).max() < 1e-3


def test_directions_agree_with_opencv() -> None:
    grey = texture(160, 200, 1)
    found = DenseSift(bin=8, scales=2, root=False).transform([grey])
    inside = ((found.positions > 50) & (found.positions < (150, 110))).all(1)
    points = [
        cv2.KeyPoint(float(x) - 0.5, float(y) - 0.5, float(scale) / 6)  # OpenCV's bins are 1.5 times this size
        for (x, y), scale in zip(found.positions[inside], found.scales[inside], strict=True)
    ]
    opencv: Any = cv2
    theirs = opencv.SIFT_create().compute(grey[:, :, 0], points)[1].reshape(-1, 4, 4, 8)
    theirs = theirs[..., (-np.arange(8)) % 8].reshape(-1, 128)  # their angles increase anticlockwise
    ours = found.values[inside]
    cosines = (ours * theirs).sum(1) / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours, axis=1)
    assert len(cosines) > 50 and cosines.mean() > 0.95


def test_brightness_and_contrast_do_not_matter() -> None:
    grey = texture(64, 64, 1)
    part = DenseSift()
    plain = part.transform([grey // 2]).values
    assert np.abs(part.transform([grey // 2 * 2 + 7]).values - plain).max() < 1e-4


def test_a_rotation_permutes_bins_and_orientations() -> None:
    image = texture(64, 80)
    plain = DenseSift(root=False).transform([image])
    turned = DenseSift(root=False).transform([np.ascontiguousarray(np.rot90(image))])  # anticlockwise
    scales, rows, columns = 5, 7, 9
    first = plain.values.reshape(scales, rows, columns, 4, 4, 8)
    second = turned.values.reshape(scales, columns, rows, 4, 4, 8)
    rotated = np.rot90(np.rot90(first, axes=(1, 2)), axes=(3, 4))[..., (np.arange(8) + 2) % 8]
    assert np.abs(second - rotated).max() < 1e-4


@pytest.mark.parametrize("colour", ["grey", "rgb", "opponent"])
def test_flat_patches_are_kept_as_zeros(colour: str) -> None:
    image = np.full((40, 80, 3), 90, np.uint8)
    image[:, 60:] = texture(40, 20)
    for root in (False, True):
        found = DenseSift(colour=colour, root=root, scales=1).transform([image])  # type: ignore[arg-type]
        assert np.isfinite(found.values).all()
        flat = found.positions[:, 0] < 40
        assert flat.any() and not found.values[flat].any() and found.values[~flat].any()
    faint = np.tile(np.array([[90, 91], [90, 90]], np.uint8)[:, :, None], (20, 20, 1))
    assert not DenseSift(contrast=2.0).transform([faint]).values.any()
    assert DenseSift(contrast=0.0).transform([faint]).values.any()


def test_colour_descriptors_are_those_of_the_channels() -> None:
    image = texture(40, 40)
    part = DenseSift(colour="rgb")
    found = part.transform([image]).values.reshape(-1, 3, 128)
    for k in range(3):
        channel = DenseSift().transform([image[:, :, k : k + 1]]).values
        assert np.array_equal(found[:, k], channel)
    grey = image[:, :, :1]
    opponent = DenseSift(colour="opponent").transform([grey]).values.reshape(-1, 3, 128)
    assert not opponent[:, :2].any() and np.abs(opponent[:, 2] - DenseSift().transform([grey]).values).max() < 1e-4
    coloured = DenseSift(colour="opponent").transform([np.repeat(grey, 3, 2)]).values.reshape(-1, 3, 128)
    assert np.abs(coloured - opponent).max() < 1e-4
    assert part.transform([]).values.shape == (0, 384)


def test_images_in_read_only_memory_cause_no_warning() -> None:
    grey = texture(40, 40, 1)
    expected = DenseSift().transform([grey]).values
    grey.flags.writeable = False
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # otherwise PyTorch warns only once in a process, perhaps in an earlier test
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(DenseSift().transform([grey]).values, expected)
    finally:
        torch.set_warn_always(before)
