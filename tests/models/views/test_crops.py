"""The boxes of each protocol match plain numpy slices, and their number is fixed."""

import numpy as np
import pytest

from imclass.models.views.crops import (
    CropSquare,
    corners_and_center,
    googlenet_crops,
    grid_crops,
    largest_squares,
    ten_crop,
)

SHAPES = [(256, 256), (256, 341), (400, 256), (224, 224), (225, 300), (257, 224)]
SIZE = 224


def index_map(height: int, width: int) -> np.ndarray:
    """Return an image in which every pixel has a different value."""
    return np.arange(height * width).reshape(height, width)


def cut(image: np.ndarray, box: CropSquare) -> np.ndarray:
    return image[box.top : box.top + box.side, box.left : box.left + box.side]


def five(image: np.ndarray) -> list[np.ndarray]:
    height, width = image.shape
    top, left = (height - SIZE) // 2, (width - SIZE) // 2
    center = image[top : top + SIZE, left : left + SIZE]
    return [image[:SIZE, :SIZE], image[:SIZE, -SIZE:], image[-SIZE:, :SIZE], image[-SIZE:, -SIZE:], center]


def three_squares(image: np.ndarray) -> list[np.ndarray]:
    height, width = image.shape
    if width > height:
        left = (width - height) // 2
        return [image[:, :height], image[:, left : left + height], image[:, -height:]]
    top = (height - width) // 2
    return [image[:width], image[top : top + width], image[-width:]]


def same(boxes: tuple[CropSquare, ...], expected: list[np.ndarray], image: np.ndarray) -> bool:
    return len(boxes) == len(expected) and all(
        np.array_equal(cut(image, box), crop) for box, crop in zip(boxes, expected, strict=True)
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_match_plain_slices(shape: tuple[int, int]) -> None:
    image = index_map(*shape)
    assert same(corners_and_center(*shape, SIZE), five(image), image)
    assert same(largest_squares(*shape), three_squares(image), image)
    assert same(ten_crop(*shape, SIZE), five(three_squares(image)[1]), image)
    expected = [crop for square in three_squares(image) for crop in (*five(square), square)]
    assert same(googlenet_crops(*shape, SIZE), expected, image)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_grid_is_regular_and_reaches_the_edges(shape: tuple[int, int]) -> None:
    boxes = grid_crops(*shape, SIZE)
    tops, lefts = (np.linspace(0, side - SIZE, 5) for side in shape)
    expected = [(top, left) for top in tops for left in lefts]
    assert len(boxes) == 25 and {box.side for box in boxes} == {SIZE}
    assert max(abs(b.top - y) + abs(b.left - x) for b, (y, x) in zip(boxes, expected, strict=True)) <= 1
    assert boxes[0][:2] == (0, 0) and boxes[-1][:2] == (shape[0] - SIZE, shape[1] - SIZE)


def test_the_grid_of_a_square_at_256_has_steps_of_eight() -> None:
    assert [box.left for box in grid_crops(256, 256, SIZE)[:5]] == [0, 8, 16, 24, 32]


@pytest.mark.parametrize("boxes", [corners_and_center, ten_crop, googlenet_crops, grid_crops])
def test_the_number_of_boxes_does_not_depend_on_the_image(boxes: type) -> None:
    assert len({len(boxes(*shape, SIZE)) for shape in SHAPES}) == 1
