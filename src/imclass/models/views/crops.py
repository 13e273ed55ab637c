"""Geometry of multi-crop protocols: the squares, in pixels, that are cropped from a rescaled image.

Each crop rule receives the height and width of the rescaled image, both at least the network's native size, and the
native size itself. It returns a fixed number of squares in a fixed order. The protocol adds the horizontal flips.
"""

from typing import NamedTuple


class CropSquare(NamedTuple):
    """A square of an image: first row, first column and side.

    If the side is not the native size, the crop is resized to that size.
    """

    top: int
    left: int
    side: int


def corners_and_center(height: int, width: int, size: int) -> tuple[CropSquare, ...]:
    """Return 5 squares of the native size: the four corners, row by row, then the centre."""
    bottom, right = height - size, width - size
    places = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
    return tuple(CropSquare(top, left, size) for top, left in places)


def largest_squares(height: int, width: int) -> tuple[CropSquare, CropSquare, CropSquare]:
    """Return the three largest squares: left, centre and right or, in a portrait image, top, centre and bottom."""
    side = min(height, width)
    rest = max(height, width) - side
    first, middle, last = ((0, at) if width > height else (at, 0) for at in (0, rest // 2, rest))
    return CropSquare(*first, side), CropSquare(*middle, side), CropSquare(*last, side)


def crops_in_square(box: CropSquare, size: int) -> tuple[CropSquare, ...]:
    """Return 5 squares of the native size inside `box`, its corners and centre, in coordinates of the whole image."""
    within = corners_and_center(box.side, box.side, size)
    return tuple(CropSquare(box.top + top, box.left + left, side) for top, left, side in within)


def ten_crop(height: int, width: int, size: int) -> tuple[CropSquare, ...]:
    """Return 5 squares: the corners and centre of the central square (Krizhevsky et al. 2012, sections 2 and 4.1)."""
    return crops_in_square(largest_squares(height, width)[1], size)


def googlenet_crops(height: int, width: int, size: int) -> tuple[CropSquare, ...]:
    """Return 18 squares: the three largest, with the corners and centre of each (Szegedy et al. 2015, section 7)."""
    return tuple(box for square in largest_squares(height, width) for box in (*crops_in_square(square, size), square))


def grid_crops(height: int, width: int, size: int) -> tuple[CropSquare, ...]:
    """Return a grid of 5 x 5 squares from edge to edge, row by row (Simonyan and Zisserman 2015, section 3.2)."""
    tops, lefts = ([(k * (side - size) + 2) // 4 for k in range(5)] for side in (height, width))
    return tuple(CropSquare(top, left, size) for top in tops for left in lefts)


def edge_crops(height: int, width: int, size: int) -> tuple[CropSquare, ...]:
    """Return a grid of 3 x 3 squares: corners, middles of the sides and centre (He et al. 2014, section 3.1.5)."""
    tops, lefts = ((0, (side - size) // 2, side - size) for side in (height, width))
    return tuple(CropSquare(top, left, size) for top in tops for left in lefts)
