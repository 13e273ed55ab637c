"""Augmentation against plain loops, and its choices against the randomness they must follow."""

import math

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from imclass.core.config import Augment
from imclass.core.preprocess import Preprocess
from imclass.core.randomness import Draws
from imclass.data.augment.window import augment, crops, part, view

FILL = torch.tensor([7, 8, 9], dtype=torch.uint8)
GOOGLENET = Augment(area=(0.08, 1.0), aspect=(3 / 4, 4 / 3))


def batch(n: int, size: int = 12, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(10, 256, (n, channels, size, size), dtype=torch.uint8, generator=generator)


def by_loop(images: torch.Tensor, rules: Augment, seed: int, epoch: int, ids: np.ndarray) -> np.ndarray:
    """Flip and shift, pixel by pixel."""
    n, channels, height, width = images.shape
    out = np.zeros(images.shape, np.uint8)
    for i in range(n):
        one = ids[i : i + 1]
        mirrored = rules.flip and Draws(seed, epoch).uniform(one, "flip")[0] < 0.5
        span = 2 * rules.pad + 1
        top, left = (int(Draws(seed, epoch).uniform(one, s)[0] * span) - rules.pad for s in ("top", "left"))
        for c in range(channels):
            for h in range(height):
                for w in range(width):
                    y, x = h + top, w + left
                    inside = 0 <= y < height and 0 <= x < width
                    x = width - 1 - x if mirrored else x
                    out[i, c, h, w] = images[i, c, y, x] if inside else FILL[c]
    return out


@pytest.mark.parametrize("rules", [Augment(), Augment(flip=True), Augment(pad=3), Augment(flip=True, pad=2)])
def test_a_batch_is_what_a_loop_over_pixels_gives(rules: Augment) -> None:
    images, ids = batch(10), np.arange(100, 110)
    before = images.clone()
    found = augment(images, rules, FILL, Draws(5, 2), ids)
    assert np.array_equal(found.numpy(), by_loop(images, rules, 5, 2, ids))
    assert torch.equal(images, before)
    assert torch.equal(found, images) == (rules == Augment())


def test_a_sample_looks_the_same_in_any_company() -> None:
    images, ids, rules = batch(50), np.arange(50), Augment(flip=True, pad=4)
    whole = augment(images, rules, FILL, Draws(1, 1), ids)
    order = np.random.default_rng(0).permutation(50)
    parts = [
        augment(images[order[i : i + 7]], rules, FILL, Draws(1, 1), ids[order[i : i + 7]]) for i in range(0, 50, 7)
    ]
    assert torch.equal(torch.cat(parts), whole[order])
    assert not torch.equal(whole, augment(images, rules, FILL, Draws(1, 2), ids))  # another epoch
    assert not torch.equal(whole, augment(images, rules, FILL, Draws(2, 1), ids))  # another seed
    assert not torch.equal(whole, augment(images, rules, FILL, Draws(1, 1), ids, repeat=1))


def test_an_empty_batch_stays_empty() -> None:
    none = np.zeros(0, np.int64)
    assert augment(batch(0), Augment(flip=True, pad=2), FILL, Draws(0, 0), none).shape == (0, 3, 12, 12)


def test_flips_are_half_and_shifts_are_uniform() -> None:
    n, pad = 20_000, 2
    ramp = torch.arange(1, 8, dtype=torch.uint8).expand(n, 1, 7, 7)
    ids = np.arange(n)
    mirrored = augment(ramp, Augment(flip=True), FILL[:1], Draws(3, 0), ids)[:, 0, 0, 0] == 7
    assert abs(mirrored.double().mean() - 0.5) < 0.015
    shifts = augment(ramp, Augment(pad=pad), FILL[:1], Draws(3, 0), ids)[:, 0, 3, 3].numpy()
    assert set(shifts) == {2, 3, 4, 5, 6}
    assert np.abs(np.bincount(shifts)[2:] / n - 1 / 5).max() < 0.015


def test_without_random_parts_a_view_is_the_evaluation_view() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    preprocess = Preprocess(size=16, scale=20)
    assert np.array_equal(view(image, preprocess, Augment(flip=True, pad=4), Draws(0, 0), 0), preprocess(image))
    assert not np.array_equal(view(image, preprocess, GOOGLENET, Draws(0, 0), 0), preprocess(image))
    assert crops(GOOGLENET)
    assert not crops(Augment(flip=True, pad=4))


def test_a_view_is_its_part_resized_by_pillow() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    preprocess = Preprocess(size=16, scale=20, interpolation="bicubic")
    for id in range(20):
        top, left, height, width = part(40, 60, GOOGLENET, Draws(1, 2), id)
        cut = Pillow.fromarray(image).crop((left, top, left + width, top + height))
        expected = np.asarray(cut.resize((16, 16), Pillow.Resampling.BICUBIC))
        assert np.array_equal(view(image, preprocess, GOOGLENET, Draws(1, 2), id), expected)


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_a_view_has_the_networks_colours(colour: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    preprocess = Preprocess(size=8, scale=8, colour="grey" if colour == "grey" else "rgb")
    assert view(image, preprocess, GOOGLENET, Draws(0, 0), 0).shape == (8, 8, preprocess.w_in)
    assert view(image[:, :, :1], preprocess, GOOGLENET, Draws(0, 0), 0).shape == (8, 8, preprocess.w_in)


def test_parts_keep_to_area_and_aspect_and_reach_every_corner() -> None:
    height, width = 300, 400
    found = np.array([part(height, width, GOOGLENET, Draws(0, 0), id) for id in range(2000)])
    top, left, h, w = found.T
    assert (top >= 0).all() and (left >= 0).all() and (top + h <= height).all() and (left + w <= width).all()
    share, aspect = h * w / (height * width), w / h
    assert 0.075 < share.min() < 0.1 and share.max() > 0.95
    assert 0.74 < aspect.min() < 0.77 and 1.3 < aspect.max() < 1.35
    assert abs(np.log(aspect[share < 0.3]).mean()) < 0.03  # a ratio and its inverse are alike
    fits = share[share < 0.55]  # whatever their aspect, so that none of these was drawn twice
    assert abs((fits < 0.3).mean() - (0.3 - 0.08) / (0.55 - 0.08)) < 0.04
    assert (top == 0).any() and (left == 0).any() and (top + h == height).any() and (left + w == width).any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1), (2, 3), (10, 1000), (1000, 10)])
def test_images_that_no_part_fits_give_their_centre(height: int, width: int) -> None:
    for id in range(30):
        top, left, h, w = part(height, width, Augment(area=(0.9, 1.0), aspect=(3 / 4, 4 / 3)), Draws(0, 0), id)
        assert 0 <= top <= top + h <= height and 0 <= left <= left + w <= width and h >= 1 and w >= 1
    if max(height, width) > 100:
        assert abs((height - h) / 2 - top) < 1 and abs((width - w) / 2 - left) < 1


def test_a_part_that_did_not_fit_is_drawn_again_with_the_next_numbers() -> None:
    rules = Augment(area=(0.5, 1.0), aspect=(1.0, 3.0))
    tried = 0
    for id in range(200):
        one = np.array([id])
        for trial in range(10):
            area, aspect, x, y = (Draws(0).uniform(one, s, trial)[0] for s in ("area", "aspect", "x", "y"))
            size, ratio = (0.5 + 0.5 * area) * 100 * 100, 3.0**aspect
            w, h = round(math.sqrt(size * ratio)), round(math.sqrt(size / ratio))
            if w <= 100 and h <= 100:
                assert part(100, 100, rules, Draws(0, 0), id) == (int(y * (101 - h)), int(x * (101 - w)), h, w)
                tried += trial > 0
                break
    assert tried > 20
