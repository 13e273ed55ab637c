"""The view of an image equals Pillow's resize and a centre crop, to the byte, at exactly the requested sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imclass.core.errors import UserError
from imclass.core.preprocess import FILTERS, Preprocess

RNG_SEED = 3


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(RNG_SEED).integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize(("height", "width", "resized"), [(40, 60, (48, 32)), (61, 35, (32, 56)), (20, 20, (32, 32))])
def test_the_view_equals_pillows(interpolation: str, height: int, width: int, resized: tuple[int, int]) -> None:
    image = picture(height, width)
    oracle = Image.fromarray(image).resize(resized, FILTERS[interpolation])
    left, top = (resized[0] - 28) // 2, (resized[1] - 28) // 2
    expected = np.asarray(oracle.crop((left, top, left + 28, top + 28)))
    view = Preprocess(size=28, scale=32, interpolation=interpolation)(image)  # type: ignore[arg-type]
    np.testing.assert_array_equal(view, expected)


def test_another_filter_would_differ() -> None:
    image = picture(61, 35)
    views = [Preprocess(size=28, scale=32, interpolation=name)(image) for name in FILTERS]  # type: ignore[arg-type]
    assert len({view.tobytes() for view in views}) == len(FILTERS)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_the_shorter_side_is_exactly_q_and_the_aspect_is_kept_to_a_pixel(height: int, width: int, scale: int) -> None:
    resized = Preprocess(size=1, scale=scale).apply_resize(picture(height, width))
    assert min(resized.shape[:2]) == scale
    shorter = min(height, width)
    assert abs(resized.shape[0] - height * scale / shorter) <= 1
    assert abs(resized.shape[1] - width * scale / shorter) <= 1


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(["shorter", "squash"]), st.sampled_from([1, 3]))
@settings(max_examples=40, deadline=None)
def test_every_image_becomes_the_native_size(height: int, width: int, resize: str, channels: int) -> None:
    image = picture(height, width, channels)
    assert Preprocess(size=14, scale=16, resize=resize)(image).shape == (14, 14, 3)  # type: ignore[arg-type]
    grey = Preprocess(size=14, scale=16, resize=resize, colour="grey")  # type: ignore[arg-type]
    assert grey(image).shape == (14, 14, 1)


def test_squash_resizes_the_whole_image() -> None:
    image = picture(40, 60)
    expected = np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(Preprocess(size=28, resize="squash")(image), expected)


def test_without_resizing_only_the_centre_is_cropped() -> None:
    image = picture(31, 32)
    np.testing.assert_array_equal(Preprocess(size=28, resize="none")(image), image[1:29, 2:30])


def test_an_image_of_the_native_size_is_unchanged() -> None:
    image = picture(28, 28)
    np.testing.assert_array_equal(Preprocess(size=28, scale=28)(image), image)


def test_without_resizing_a_small_image_is_refused() -> None:
    with pytest.raises(UserError, match=r"27 x 40 pixels is smaller than the network's 28 x 28; use"):
        Preprocess(size=28, resize="none")(picture(27, 40))
    assert Preprocess(size=28, scale=28)(picture(27, 40)).shape == (28, 28, 3)


def test_grey_is_the_luma() -> None:
    image = picture(28, 28)
    weights = np.array([0.299, 0.587, 0.114])
    grey = Preprocess(size=28, scale=28, colour="grey")(image)
    assert np.abs(grey[:, :, 0] - image @ weights).max() <= 1
    assert np.abs(grey[:, :, 0] - image.mean(2)).max() > 10  # the plain mean differs


def test_one_channel_becomes_three_equal_ones_or_stays_grey() -> None:
    image = picture(28, 28, 1)
    np.testing.assert_array_equal(Preprocess(size=28, scale=28)(image), np.repeat(image, 3, axis=2))
    np.testing.assert_array_equal(Preprocess(size=28, scale=28, colour="grey")(image), image)


def test_channel_order_is_reversed_for_bgr() -> None:
    image = picture(28, 28)
    np.testing.assert_array_equal(Preprocess(size=28, scale=28, channels="bgr")(image), image[:, :, ::-1])


def test_the_input_has_one_channel_for_grey_else_three() -> None:
    assert (Preprocess().w_in, Preprocess(colour="grey").w_in) == (3, 1)


@pytest.mark.parametrize(
    ("size", "scale", "message"), [(0, 256, "preprocess.size is 0"), (32, 31, "scale 31 is below")]
)
def test_a_crop_that_does_not_fit_is_refused(size: int, scale: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Preprocess(size=size, scale=scale)
    assert Preprocess(size=32, resize="squash", scale=31).size == 32  # the scale is not used here, so it is not checked
