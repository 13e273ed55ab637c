"""Every view of the multi-crop protocols equals that of a plain loop over Pillow and numpy."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from imclass.core.preprocess import Preprocess
from imclass.evaluation.protocols.multicrop import GOOGLENET_144, PROTOCOLS, TEN_CROP, VGG_MULTICROP
from imclass.evaluation.score import view_protocols
from imclass.models.views.posteriors import MeanPosterior
from tests.support.tolerance import near
from tests.support.viewers import Linear, ragged_images, views

SIZE = 14
RULE = Preprocess(size=SIZE, scale=17)
Loop = Callable[[np.ndarray], Iterator[np.ndarray]]


def larger(image: np.ndarray, q: int) -> np.ndarray:
    factor = q / min(image.shape[:2])
    height, width = (int(side * factor + 0.5) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def five(square: np.ndarray) -> Iterator[np.ndarray]:
    rest = len(square) - SIZE
    for top, left in ((0, 0), (0, rest), (rest, 0), (rest, rest), (rest // 2, rest // 2)):
        yield square[top : top + SIZE, left : left + SIZE]


def square_at(image: np.ndarray, place: int) -> np.ndarray:
    """Return the first (0), the middle (1) or the last (2) of three squares."""
    height, width = image.shape[:2]
    side, at = min(height, width), abs(height - width) * place // 2
    return image[:, at : at + side] if width > height else image[at : at + side]


def ten(image: np.ndarray) -> Iterator[np.ndarray]:
    yield from five(square_at(larger(image, 17), 1))


def hundred_and_forty_four(image: np.ndarray) -> Iterator[np.ndarray]:
    for q in (16, 18, 20, 22):  # 256, 288, 320, 352 at 224
        for place in range(3):
            square = square_at(larger(image, q), place)
            yield from five(square)
            yield np.asarray(Image.fromarray(square).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def fifty(image: np.ndarray, q: int = 17) -> Iterator[np.ndarray]:
    image = larger(image, q)
    height, width = image.shape[:2]
    for top in np.linspace(0, height - SIZE, 5):
        for left in np.linspace(0, width - SIZE, 5):
            y, x = int(top + 0.5), int(left + 0.5)
            yield image[y : y + SIZE, x : x + SIZE]


def hundred_and_fifty(image: np.ndarray) -> Iterator[np.ndarray]:
    for q in (16, 17, 24):
        yield from fifty(image, q)


CASES = [
    (TEN_CROP, ten, 10),
    (GOOGLENET_144, hundred_and_forty_four, 144),
    (VGG_MULTICROP, fifty, 50),
    (replace(VGG_MULTICROP, scales=(16, 17, 24)), hundred_and_fifty, 150),
]


@pytest.mark.parametrize(("protocol", "loop", "count"), CASES, ids=["10", "144", "50", "150"])
@pytest.mark.parametrize("shape", [(40, 55, 3), (60, 33, 3), (25, 25, 3)], ids=["wide", "upright", "square"])
def test_views_and_probabilities_are_a_plain_loop(
    protocol: MeanPosterior, loop: Loop, count: int, shape: tuple[int, int, int]
) -> None:
    classifier, images = Linear(RULE, gain=4), ragged_images(shape)
    expected = [view for crop in loop(images[0]) for view in (crop, crop[:, ::-1])]
    batch = torch.from_numpy(np.stack(expected).transpose(0, 3, 1, 2).copy())
    found = protocol(classifier, images)
    assert len(views(classifier)) == count
    assert views(classifier) == sorted(view.numpy().tobytes() for view in batch)
    assert near(found.softmax(1)[0], classifier.scores(batch).softmax(1).mean(0))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_crops_of_several_images_share_a_batch(name: str) -> None:
    classifier, found = Linear(RULE), view_protocols()
    found[name](classifier, ragged_images((40, 55, 3), (30, 30, 3)))
    assert len(classifier.seen) == 2 * (4 if name == "googlenet144" else 1)  # the crops and their mirrors, a scale
