"""Raw patches equal a loop over the pixels, and images of any size and colour are described."""

import numpy as np
import pytest

from imclass.core.bounds import check_bounds
from imclass.core.errors import UserError
from imclass.pipelines.dense.grid import resize_image
from imclass.pipelines.parts.patches import Patches
from tests.support.tolerance import assert_near


def image_of(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, channels), np.uint8)


def loop(image: np.ndarray, side: int, tops: range, lefts: range, contrast: float) -> np.ndarray:
    """Describe the patches at some places one by one."""
    rows = []
    for top in tops:
        for left in lefts:
            x = image[top : top + side, left : left + side].astype(np.float64).ravel()
            rows.append((x - x.mean()) / np.sqrt(x.var() + contrast))
    return np.array(rows)


def test_an_image_of_cifar_has_729_patches_of_108_numbers() -> None:
    image = image_of(32, 32)
    found = Patches().transform([image])
    assert found.values.shape == (729, 108) and found.values.dtype == np.float32
    assert_near(found.values, loop(image, 6, range(27), range(27), 10))
    assert found.positions[[0, 1, 27, 728]].tolist() == [[3, 3], [4, 3], [3, 4], [29, 29]]
    assert set(found.scales.tolist()) == {6} and found.sizes.tolist() == [[32, 32]]


@pytest.mark.parametrize(
    ("side", "step", "tops", "lefts"),
    [(5, 4, range(0, 9, 4), range(1, 18, 4)), (3, 7, range(2, 10, 7), range(0, 22, 7))],
)
def test_wider_steps_leave_equal_margins(side: int, step: int, tops: range, lefts: range) -> None:
    image = image_of(14, 24)
    found = Patches(side=side, step=step, contrast=0.5).transform([image])
    assert_near(found.values, loop(image, side, tops, lefts, 0.5))
    assert found.positions.tolist() == [[left + side / 2, top + side / 2] for top in tops for left in lefts]


def test_patches_of_one_colour_are_zeros_and_contrast_is_reduced_to_one_scale() -> None:
    assert not Patches().transform([np.full((8, 8, 3), 200, np.uint8)]).values.any()
    image = image_of(12, 12) // 4
    bright = Patches(contrast=1e-3).transform([2 * image + 50]).values
    assert_near(Patches(contrast=1e-3).transform([image]).values, bright, 1e-4)


def test_grey_and_colour() -> None:
    grey, colour = image_of(9, 9, 1), image_of(9, 9)
    assert_near(Patches().transform([grey]).values, Patches().transform([np.repeat(grey, 3, 2)]).values)
    luma = colour.astype(np.float64) @ [[0.299], [0.587], [0.114]]
    found = Patches(colour="grey").transform([grey, colour])
    assert_near(found.values, np.concatenate([loop(image, 6, range(4), range(4), 10) for image in (grey, luma)]))


def test_images_smaller_than_a_patch_are_enlarged() -> None:
    narrow = image_of(4, 20)
    found = Patches(side=8).transform([narrow])
    enlarged = Patches(side=8).transform([resize_image(narrow, 0, 8)])
    assert np.array_equal(found.values, enlarged.values) and len(found) == 13
    assert found.positions[:2].tolist() == [[4, 2], [5, 2]] and found.sizes.tolist() == [[4, 20]]
    assert_near(found.scales, np.full(13, 32**0.5))
    assert len(Patches().transform([image_of(1, 1, 1)])) == 1


def test_images_of_several_sizes_are_described_one_by_one() -> None:
    images = [image_of(9, 14), image_of(7, 6, 1), image_of(30, 11)]
    together = Patches().transform(images)
    for image, found in zip(images, together.of_each_image(), strict=True):
        assert np.array_equal(Patches().transform([image]).values, found.values)
    assert Patches(colour="grey").transform([]).values.shape == (0, 36)


def test_other_channels_and_settings_are_refused() -> None:
    with pytest.raises(UserError, match="patches describes images with 1 or 3 channels, and this one has 4; convert"):
        Patches().transform([image_of(8, 8, 4)])
    with pytest.raises(UserError, match="contrast"):
        check_bounds(Patches(contrast=0.0))  # a patch of one colour would be NaN
