"""Windows compared with plain loops over pixels, and the choices of flip and pad with their distributions."""

import itertools
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from imclass.core.config import Augment
from imclass.core.preprocess import Preprocess
from imclass.core.randomness import Draws
from imclass.data.augment.area import Area
from imclass.data.augment.flip import Flip
from imclass.data.augment.pad import Pad
from imclass.data.augment.window import Windows, apply_windows, choose, has_source_boxes, render_view, scope_draws

FILL = np.array([7, 8, 9], np.uint8)
RULES = [
    (),
    (Flip(),),
    (Pad(pixels=3),),
    (Flip(), Pad(pixels=2)),
    pytest.param((Pad(pixels=2), Flip()), marks=pytest.mark.slow),
    (Pad(pixels=1), Pad(pixels=30)),
]


def batch(n: int, size: int = 12, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(10, 256, (n, channels, size, size), dtype=np.uint8)


def sizes(n: int) -> np.ndarray:
    return np.full((n, 2), 12)


def augment(images: np.ndarray, rules: tuple[Augment, ...], draws: Draws, ids: np.ndarray) -> np.ndarray:
    return apply_windows(images, choose(sizes(len(ids)), 12, rules, draws, ids), FILL[: images.shape[1]])


def by_loop(images: np.ndarray, rules: tuple[Augment, ...], draws: Draws, ids: np.ndarray) -> np.ndarray:
    """Trace each pixel back through the rules, the last rule first, to its place in the image."""
    n, channels, height, width = images.shape
    out = np.zeros(images.shape, np.uint8)
    for i, c, h, w in itertools.product(range(n), range(channels), range(height), range(width)):
        one, y, x = ids[i : i + 1], h, w
        for rule, scoped in reversed(list(scope_draws(rules, draws))):
            if isinstance(rule, Flip):
                x = width - 1 - x if scoped.uniform(one, "mirror")[0] < rule.probability else x
            elif isinstance(rule, Pad):
                span = 2 * rule.pixels + 1
                y += int(scoped.uniform(one, "top")[0] * span) - rule.pixels
                x += int(scoped.uniform(one, "left")[0] * span) - rule.pixels
        out[i, c, h, w] = images[i, c, y, x] if 0 <= y < height and 0 <= x < width else FILL[c]
    return out


@pytest.mark.parametrize("rules", RULES)
def test_a_batch_equals_a_loop_over_pixels(rules: tuple[Augment, ...]) -> None:
    images, ids = batch(6), np.arange(100, 106)
    before = images.copy()
    found = augment(images, rules, Draws(5, 2), ids)
    assert np.array_equal(found, by_loop(images, rules, Draws(5, 2), ids))
    assert np.array_equal(images, before)
    assert np.array_equal(found, images) == (rules == ())


def test_a_sample_does_not_depend_on_the_rest_of_the_batch() -> None:
    images, ids, rules = batch(50), np.arange(50), (Flip(), Pad())
    whole = augment(images, rules, Draws(1, 1), ids)
    order = np.random.default_rng(0).permutation(50)
    parts = [augment(images[order[i : i + 7]], rules, Draws(1, 1), ids[order[i : i + 7]]) for i in range(0, 50, 7)]
    assert np.array_equal(np.concatenate(parts), whole[order])
    assert not np.array_equal(whole, augment(images, rules, Draws(1, 2), ids))  # another epoch
    assert not np.array_equal(whole, augment(images, rules, Draws(2, 1), ids))  # another seed


def test_an_empty_batch_stays_empty() -> None:
    assert augment(batch(0), (Flip(), Pad(), Area()), Draws(0, 0), np.zeros(0, np.int64)).shape == (0, 3, 12, 12)


def test_the_order_of_rules_changes_the_geometry_but_not_the_draws() -> None:
    ids = np.arange(200)

    def windows(*rules: Augment) -> Windows:
        return choose(sizes(200), 12, rules, Draws(3), ids)

    flip, pad, both, back = windows(Flip()), windows(Pad()), windows(Flip(), Pad()), windows(Pad(), Flip())
    assert np.array_equal(both.mirrored, flip.mirrored) and np.array_equal(back.mirrored, flip.mirrored)
    assert np.array_equal(back.left, pad.left) and np.array_equal(both.top, pad.top)
    assert np.array_equal(both.left, np.where(flip.mirrored, -pad.left, pad.left))
    assert not np.array_equal(both.left, back.left)


def test_two_rules_of_a_kind_draw_independently() -> None:
    ids = np.arange(4000)
    two = choose(sizes(4000), 12, (Pad(pixels=1), Pad(pixels=1)), Draws(3), ids).top
    counts = np.bincount(two + 2, minlength=5) / 4000
    assert np.abs(counts - np.array([1, 2, 3, 2, 1]) / 9).max() < 0.03  # with the same draws: -2, 0 and 2 alone
    assert 0.45 < choose(sizes(4000), 12, (Flip(), Flip()), Draws(3), ids).mirrored.mean() < 0.55


def test_flips_have_their_probability_and_shifts_are_uniform() -> None:
    n, pad = 20_000, 2
    ramp = np.broadcast_to(np.arange(1, 8, dtype=np.uint8), (n, 1, 7, 7))
    ids = np.arange(n)
    for probability in (0.0, 0.3, 0.5, 1.0):
        mirrored = augment(ramp, (Flip(probability=probability),), Draws(3, 0), ids)[:, 0, 0, 0] == 7
        assert abs(mirrored.mean() - probability) < (0.015 if 0 < probability < 1 else 1e-9)
    shifts = augment(ramp, (Pad(pixels=pad),), Draws(3, 0), ids)[:, 0, 3, 3]
    assert set(shifts) == {2, 3, 4, 5, 6}
    assert np.abs(np.bincount(shifts)[2:] / n - 1 / 5).max() < 0.015


def test_a_window_may_leave_its_image() -> None:
    images, zeros = batch(5), np.zeros(5, np.int64)
    far = np.array([12, -12, 40, -(10**6), 11])
    found = apply_windows(images, Windows(12, far, zeros, zeros.astype(bool)), FILL)
    assert (found[:4] == FILL[:, None, None]).all()
    assert np.array_equal(found[4, :, 0], images[4, :, 11]) and (found[4, :, 1:] == FILL[:, None, None]).all()


def test_without_boxes_a_view_is_the_evaluation_view() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    preprocess, one = Preprocess(size=16, scale=20), np.arange(1)

    def view(*rules: Augment) -> Any:
        return render_view(image, choose(np.array([[40, 60]]), 16, rules, Draws(0), one), preprocess)

    assert np.array_equal(view(Flip(), Pad()), preprocess(image))
    assert not np.array_equal(view(Area()), preprocess(image))
    assert has_source_boxes((Flip(), Area())) and not has_source_boxes((Flip(), Pad())) and not has_source_boxes(())


@pytest.mark.parametrize("colour", ["grey", "rgb"])
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_a_view_equals_its_box_resized_by_pillow(colour: Any, channels: Any) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    preprocess = Preprocess(16, colour, scale=20, interpolation="bicubic", channels=channels)
    for id in range(20):
        windows = choose(np.array([[40, 60]]), 16, (Area(),), Draws(1, 2), np.array([id]))
        assert windows.boxes is not None
        whole = Pillow.fromarray(image).convert("L") if colour == "grey" else Pillow.fromarray(image)
        left, top, right, bottom = windows.boxes[0].tolist()
        expected = np.asarray(whole.resize((16, 16), Pillow.Resampling.BICUBIC, (left, top, right, bottom))).reshape(
            16, 16, -1
        )
        expected = expected[:, :, ::-1] if channels == "bgr" and colour == "rgb" else expected
        assert np.array_equal(render_view(image, windows, preprocess), expected)
        grey = render_view(image[:, :, :1], windows, preprocess)
        assert grey.shape == (16, 16, preprocess.w_in)
