"""The operations follow plain loops over pixels. Operation, strength and direction are drawn uniformly."""

import math
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from imclass.core.randomness import Draws
from imclass.data.augment import trivial
from imclass.data.augment.trivial import OPERATIONS, Trivial

VIEW = np.random.default_rng(0).integers(30, 200, (48, 40, 3), dtype=np.uint8)
LUMA = np.array([0.299, 0.587, 0.114])


def run(name: str, strength: int, sign: int = 1) -> np.ndarray:
    return np.array(OPERATIONS[name](Image.fromarray(VIEW), strength, sign)).astype(int)


def move(a: float, b: float, c: float, d: float, e: float, f: float) -> np.ndarray:
    """Return the view after an affine transform: the pixel that contains the source of each pixel's centre."""
    out = np.zeros(VIEW.shape, int)
    for y in range(len(VIEW)):
        for x in range(VIEW.shape[1]):
            u, v = x + 0.5, y + 0.5
            column, row = math.floor(a * u + b * v + c), math.floor(d * u + e * v + f)
            if 0 <= row < len(VIEW) and 0 <= column < VIEW.shape[1]:
                out[y, x] = VIEW[row, column]
    return out


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("strength", [0, 13, 30])
def test_geometry(strength: int, sign: int) -> None:
    shear, pixels = sign * 0.99 * strength / 30, sign * math.floor(32 * strength / 30)
    for name, coefficients in {
        "shear-x": (1, shear, 0, 0, 1, 0),
        "shear-y": (1, 0, 0, shear, 1, 0),
        "translate-x": (1, 0, pixels, 0, 1, 0),
        "translate-y": (1, 0, 0, 0, 1, pixels),
    }.items():
        assert (run(name, strength, sign) == move(*coefficients)).all(-1).mean() > 0.995, name


def test_rotation() -> None:
    assert np.array_equal(run("rotate", 0), VIEW)
    square = VIEW[:40]
    quarter = np.array(OPERATIONS["rotate"](Image.fromarray(square), 20, 1))  # 135 degrees x 20 / 30
    assert np.array_equal(quarter, np.rot90(square))
    assert np.array_equal(np.array(OPERATIONS["rotate"](Image.fromarray(square), 20, -1)), np.rot90(square, -1))


@pytest.mark.parametrize("strength", [0, 10, 30])
def test_levels(strength: int) -> None:
    levels = VIEW.astype(int)
    threshold, bits, factor = 256 - 256 * strength // 30, 8 - 6 * strength // 30, 0.01 + 1.99 * strength / 30
    assert np.array_equal(run("identity", strength), levels)
    assert np.array_equal(run("solarise", strength), np.where(levels < threshold, levels, 255 - levels))
    assert np.array_equal(run("posterise", strength), levels >> (8 - bits) << (8 - bits))
    grey = levels @ LUMA
    others = {"brightness": 0.0, "contrast": np.round(grey.mean()), "colour": grey[:, :, None]}
    for name, other in others.items():
        assert np.abs(run(name, strength) - (other + factor * (levels - other)).clip(0, 255)).max() <= 2, name
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    smooth = sum(kernel[i, j] * levels[i : i + 46, j : j + 38] for i in range(3) for j in range(3))
    inner = levels[1:-1, 1:-1]
    found = run("sharpness", strength)[1:-1, 1:-1]
    assert np.abs(found - (smooth + factor * (inner - smooth)).clip(0, 255)).max() <= 2


def test_histograms() -> None:
    stretched, equal = run("auto-contrast", 9), run("equalise", 9)
    for c in range(3):
        low, high = VIEW[..., c].min(), VIEW[..., c].max()
        assert np.abs(stretched[..., c] - (VIEW[..., c] - float(low)) * 255 / (high - low)).max() <= 1
        counts = np.bincount(VIEW[..., c].ravel(), minlength=256)
        step = (counts.sum() - counts[high]) // 255  # pixels for each new level, apart from the highest level
        table = [(step // 2 + counts[:level].sum()) // step for level in range(256)]
        assert np.array_equal(equal[..., c], np.minimum(table, 255)[VIEW[..., c]])


def test_choices_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, int]] = []

    def record(name: str) -> trivial.Operation:
        def operate(picture: Image.Image, strength: int, sign: int) -> Image.Image:
            seen.append((name, strength, sign))
            return picture

        return operate

    monkeypatch.setattr(trivial, "OPERATIONS", {name: record(name) for name in OPERATIONS})
    view = np.zeros((1, 1, 3), np.uint8)
    for id in range(500):
        Trivial().colour(view, Draws(1), id)
    for values, count in zip(zip(*seen, strict=True), (14, 31, 2), strict=True):
        counts = Counter(values)
        assert len(counts) == count and max(abs(n - 500 / count) for n in counts.values()) < 5 * math.sqrt(500 / count)
    assert {strength for _, strength, _ in seen} == set(range(31)) and {sign for *_, sign in seen} == {-1, 1}


@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_keeps_the_shape(channels: int) -> None:
    view = VIEW[:, :, :channels]
    for id in range(60):
        found = Trivial().colour(view.copy(), Draws(1), id)
        assert found.shape == view.shape and found.dtype == np.uint8
