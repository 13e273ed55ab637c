"""Which squares of a rescaled image a multi-crop protocol looks at: plain geometry, in pixels.

A function of this file takes the height and width of the rescaled image and the network's native size, none of them
smaller than that, and gives the squares in a fixed order, always as many. Mirrors are the protocol's business.
"""

from typing import NamedTuple


class CropSquare(NamedTuple):
    """A square of an image: its first row, its first column, its side. One not of the native size is resized to it."""

    top: int
    left: int
    side: int


def corners_and_center(height: int, width: int, size: int) -> tuple[CropSquare, ...]:
    """The four corners, row by row, then the centre: 5 squares of the native size."""
    bottom, right = height - size, width - size
    places = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
    return tuple(CropSquare(top, left, size) for top, left in places)


def largest_squares(height: int, width: int) -> tuple[CropSquare, CropSquare, CropSquare]:
    """The three largest squares: left, centre, right; of an upright image top, centre, bottom."""
    side, rest = min(height, width), max(height, width) - min(height, width)
    first, middle, last = ((0, at) if width > height else (at, 0) for at in (0, rest // 2, rest))
    return CropSquare(*first, side), CropSquare(*middle, side), CropSquare(*last, side)


def crops_in_square(box: CropSquare, size: int) -> tuple[CropSquare, ...]:
    """Corners and centre of a square, as boxes of the whole image."""
    within = corners_and_center(box.side, box.side, size)
    return tuple(CropSquare(box.top + top, box.left + left, side) for top, left, side in within)


def ten_crop(height: int, width: int, size: int) -> tuple[CropSquare, ...]:
    """Corners and centre of the central square, 5 boxes: Krizhevsky et al. 2012, sections 2 and 4.1."""
    return crops_in_square(largest_squares(height, width)[1], size)


def googlenet_crops(height: int, width: int, size: int) -> tuple[CropSquare, ...]:
    """Corners and centre of each of three squares, and the square itself: 18 boxes (Szegedy et al. 2015, section 7)."""
    return tuple(box for square in largest_squares(height, width) for box in (*crops_in_square(square, size), square))


def grid_crops(height: int, width: int, size: int) -> tuple[CropSquare, ...]:
    """A regular grid of 5 x 5 squares from edge to edge, row by row: Simonyan and Zisserman 2015, section 3.2."""
    tops, lefts = ([(k * (side - size) + 2) // 4 for k in range(5)] for side in (height, width))
    return tuple(CropSquare(top, left, size) for top in tops for left in lefts)
