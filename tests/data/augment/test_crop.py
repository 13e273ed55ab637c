"""Crops of rescaled images: their exact scale, their offsets, their pixels, and the checks of their settings."""

from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from imclass.core.bounds import check_bounds
from imclass.core.config import Augment
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.core.randomness import Draws
from imclass.data.augment.area import Area
from imclass.data.augment.crop import Crop
from imclass.data.augment.flip import Flip
from imclass.data.augment.window import Windows, choose, has_source_boxes, render_view

ALEXNET, JITTER = Crop(square=True), Crop(shorter=(256.0, 512.0))


def windows(height: int, width: int, *rules: Augment, size: int = 224, ids: int = 2000, epoch: int = 0) -> Windows:
    return choose(np.full((ids, 2), (height, width)), size, rules, Draws(0, epoch), np.arange(ids))


def boxes(height: int, width: int, *rules: Augment, **more: int) -> np.ndarray:
    """Return left, top, right and bottom, with a row for each image."""
    found = windows(height, width, *rules, **more).boxes
    assert found is not None
    return found


def shorter_sides(found: np.ndarray, shorter: int, size: int = 224) -> np.ndarray:
    """Return the S of each box, from the ratio of the view's size to the box's."""
    return size * shorter / (found[:, 2] - found[:, 0])


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 375), (333, 333), (100, 257), (1, 9)])
def test_the_scale_is_s_over_the_shorter_side_in_both_directions(height: int, width: int) -> None:
    for shorter in (256, 384):
        left, top, right, bottom = boxes(height, width, Crop(shorter=(float(shorter), float(shorter)))).T
        wanted = 224 * min(height, width) / shorter
        assert np.abs((right - left) / wanted - 1).max() < 1e-12
        assert np.abs((bottom - top) / wanted - 1).max() < 1e-12


def test_s_is_a_whole_number_drawn_uniformly_for_each_image() -> None:
    n, every = 20_000, np.arange(256, 513)
    found = shorter_sides(boxes(375, 500, JITTER, ids=n), 375)
    assert np.abs(found - found.round()).max() < 1e-9
    counts = np.bincount(found.round().astype(int), minlength=513)[256:]
    assert counts.min() > 0 and counts.sum() == n
    deviations = (counts - n / len(every)) / np.sqrt(n / len(every))
    assert abs((deviations**2).mean() - 1) < 0.4  # chi-squared of 256 degrees of freedom, divided by them
    again = shorter_sides(boxes(375, 500, JITTER, ids=n, epoch=1), 375)
    assert abs((again == found).mean() - 1 / len(every)) < 0.003  # S is drawn anew in each epoch
    assert abs(np.corrcoef(found, again)[0, 1]) < 0.03


def test_s_and_the_offsets_are_independent() -> None:
    left, top, *_ = boxes(375, 500, JITTER, ids=20_000).T
    shorter = shorter_sides(boxes(375, 500, JITTER, ids=20_000), 375)
    unit = 375 / shorter
    shares = (left / unit / (500 / unit - 224), top / unit / (shorter - 224))
    assert np.abs(np.corrcoef([shorter, *shares]) - np.eye(3)).max() < 0.03


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 375), (400, 400)])
def test_offsets_are_whole_pixels_of_the_rescaled_image_and_all_occur(height: int, width: int) -> None:
    short = min(height, width)
    offsets = boxes(height, width, Crop(), ids=9000)[:, :2] * 256 / short
    assert np.abs(offsets - offsets.round()).max() < 1e-9
    for axis, side in enumerate((width, height)):
        counts = np.bincount(offsets[:, axis].round().astype(int))
        assert len(counts) == side * 256 // short - 224 + 1
        assert (np.abs(counts / counts.mean() - 1) < 0.45).all()


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 375), (256, 256)])
def test_alexnets_crops_have_offsets_0_to_31_in_the_central_square(height: int, width: int) -> None:
    short, n = min(height, width), 40_000
    found = windows(height, width, ALEXNET, Flip(), ids=n)
    assert found.boxes is not None
    centre = np.array([width - short, height - short]) / 2
    offsets = (found.boxes[:, :2] - centre) * 256 / short
    whole = offsets.round().astype(int)
    assert np.abs(offsets - whole).max() < 1e-9 and whole.min() == 0 and whole.max() == 31
    assert len({(x, y, flip) for (x, y), flip in zip(whole.tolist(), found.mirrored.tolist(), strict=True)}) == 2048
    counts = np.bincount(whole[:, 0] * 32 + whole[:, 1], minlength=1024)
    assert abs(((counts - n / 1024) ** 2).mean() / (n / 1024) - 1) < 0.2
    assert (found.boxes[:, 2:] <= centre + short + 1e-9).all()


def test_a_square_as_large_as_the_view_has_one_crop() -> None:
    found = boxes(30, 50, Crop(shorter=(24.0, 24.0), square=True), size=24, ids=20)
    assert np.array_equal(found, np.full((20, 4), (10, 0, 40, 30)))
    left, top, right, bottom = boxes(30, 50, Crop(shorter=(24.0, 24.0)), size=24).T
    assert set(top) == {0} and set(bottom) == {30} and len(set(left)) == 40 - 24 + 1 and right.max() == 50


@pytest.mark.parametrize(
    "rules", [(Crop(),), (JITTER,), (ALEXNET,), (Area(), Crop()), (Area(), JITTER), (Crop(), Crop())]
)
def test_crops_lie_inside_images_of_any_shape(rules: tuple[Augment, ...]) -> None:
    rng = np.random.default_rng(0)
    sides = np.concatenate([rng.integers(1, 20, 100), rng.integers(20, 5000, 100), np.full(30, 256)])
    sizes = np.stack([sides, rng.permutation(sides)], axis=1)
    sizes = np.concatenate([sizes, [[1, 60_000], [60_000, 1], [1, 1], [224, 224]]])
    found = choose(sizes, 224, rules, Draws(3), np.arange(len(sizes))).boxes
    assert found is not None and np.isfinite(found).all()
    assert (found[:, :2] >= 0).all() and (found[:, 2:] <= sizes[:, ::-1]).all()
    extent = found[:, 2:] - found[:, :2]
    assert (extent > 0).all() and np.abs(extent[:, 0] / extent[:, 1] - 1).max() < 1e-9


def test_rounding_does_not_move_a_crop_of_a_crop_past_the_edge() -> None:
    """Check boxes that end where the image does, with sides that are not whole numbers."""
    left, top, right, bottom = boxes(333, 471, Crop(shorter=(224.0, 300.0)), Crop(shorter=(224.0, 224.0))).T
    assert min(left.min(), top.min()) >= 0 and right.max() <= 471 and bottom.max() <= 333


def test_a_crop_does_not_depend_on_the_other_images() -> None:
    rng = np.random.default_rng(0)
    sizes, ids = rng.integers(1, 500, (300, 2)), rng.integers(0, 2**62, 300)
    for rule in (JITTER, Crop(shorter=(230.0, 300.0), square=True)):
        whole = choose(sizes, 224, (rule,), Draws(4, 2), ids).boxes
        assert whole is not None
        for i in range(0, 300, 7):
            one = choose(sizes[i : i + 1], 224, (rule,), Draws(4, 2), ids[i : i + 1]).boxes
            assert one is not None and np.array_equal(one[0], whole[i])


@pytest.mark.parametrize(("height", "width"), [(60, 80), (80, 60), (15, 20), (20, 15)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_view_is_a_cut_of_the_whole_image_at_s(height: int, width: int, interpolation: Any) -> None:
    """Compare with the paper's two steps, rescaling and cutting, for images whose sides stay whole at S = 30."""
    source, preprocess = image(height, width), Preprocess(24, scale=30, interpolation=interpolation)
    scale = 30 / min(height, width)
    whole = np.asarray(preprocess.apply_resize(source)).astype(int)
    assert whole.shape[:2] == (round(height * scale), round(width * scale))
    for id in range(30):
        one = choose(np.array([[height, width]]), 24, (Crop(shorter=(30.0, 30.0)),), Draws(1, 2), np.array([id]))
        assert one.boxes is not None
        left, top, right, bottom = one.boxes[0].tolist()
        x, y = round(left * scale), round(top * scale)
        view = render_view(source, one, preprocess)
        assert np.abs(view - whole[y : y + 24, x : x + 24]).max() <= 1  # Pillow rounds between its two passes
        box = (left, top, right, bottom)
        resample = getattr(Pillow.Resampling, interpolation.upper())
        assert np.array_equal(view, np.asarray(Pillow.fromarray(source).resize((24, 24), resample, box)))


def test_an_image_of_extreme_shape_is_not_rescaled_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that a strip, which would have 15 million columns at S = 256, needs no more memory than its view."""
    made, resize = list[tuple[int, int]](), Pillow.Image.resize

    def watch(self: Any, size: tuple[int, int], *more: Any) -> Any:
        made.append(size)
        return resize(self, size, *more)

    monkeypatch.setattr(Pillow.Image, "resize", watch)
    for height, width in ((1, 60_000), (60_000, 1)):
        one = choose(np.array([[height, width]]), 224, (Crop(),), Draws(0), np.arange(1))
        assert render_view(image(height, width), one, Preprocess()).shape == (224, 224, 3)
    assert made == [(224, 224)] * 2


def test_crops_are_cut_from_source_images() -> None:
    assert has_source_boxes((Crop(), Flip()))


@pytest.mark.parametrize("shorter", [(300.0, 256.0), (256.5, 300.0), (256.0, 300.5), (0.0, 10.0), (1.0, 1e9)])
def test_a_range_must_be_of_whole_pixels_in_order(shorter: tuple[float, float]) -> None:
    check_bounds(Crop(shorter=(256.0, 300.0)), "augment.crop.")
    with pytest.raises(UserError, match=r"--augment\.crop\.shorter is"):
        check_bounds(Crop(shorter=shorter), "augment.crop.")


def test_a_view_larger_than_s_is_refused_with_the_fix() -> None:
    Crop(shorter=(224.0, 300.0)).check_size(224, "augment.crop.")
    with pytest.raises(UserError) as caught:
        Crop(shorter=(200.0, 300.0)).check_size(224, "augment.crop.")
    assert str(caught.value) == (
        "--augment.crop.shorter 200 300 begins below --preprocess.size 224: the crop would not fit; "
        "use --augment.crop.shorter 224 300 or more"
    )


def test_a_central_square_of_the_size_of_the_view_begins_inside_any_box() -> None:
    """Draw boxes with fractions, whose square may be smaller than the view by rounding."""
    generator, count = np.random.default_rng(0), 50_000
    zeros, ids = np.zeros(count, np.int64), np.arange(count)
    start = generator.uniform(0, 1_000, (count, 2))
    outer = np.concatenate([start, start + generator.uniform(20, 3_000, (count, 2))], axis=1)
    before = Windows(224, zeros, zeros, zeros.astype(bool), outer)
    rule = Crop(shorter=(224.0, 224.0), square=True)
    inner = rule.windows(before, np.zeros((count, 2), np.int64), Draws(0), ids).boxes
    assert inner is not None
    assert (inner[:, :2] - outer[:, :2]).min() > -1e-6 and (outer[:, 2:] - inner[:, 2:]).min() > -1e-6
