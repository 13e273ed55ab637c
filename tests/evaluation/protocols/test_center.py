"""Single-view protocols equal a plain loop over Pillow and numpy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.evaluation.protocols.center import PROTOCOLS, Center, Resize
from imclass.models.views.batches import score_one_view
from tests.support.stubs import StubNetwork
from tests.support.tolerance import near
from tests.support.viewers import Linear, ragged_images

SIZE = 12
LARGER = Preprocess(size=SIZE, scale=16)
Rules = Literal["none", "squash", "shorter"]


@dataclass
class Pixels(StubNetwork):
    """A network whose scores are the first pixels of the view, so that a test sees what the classifier saw."""

    classes: tuple[str, ...] = ("a", "b", "c")
    preprocess: Preprocess = LARGER
    seen: list[torch.Tensor] = field(default_factory=list)

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return images[:, 0, 0, :3].float()

    def classify(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        return score_one_view(self, images, self.preprocess)

    def dense(self, images: torch.Tensor) -> torch.Tensor:
        return self.scores(images)[..., None, None]


def center_by_hand(image: np.ndarray, q: int) -> np.ndarray:
    height, width = image.shape[:2]
    factor = q / min(height, width)
    larger = Image.fromarray(image).resize((round(width * factor), round(height * factor)), Image.Resampling.BILINEAR)
    top, left = (larger.height - SIZE) // 2, (larger.width - SIZE) // 2
    return np.asarray(larger)[top : top + SIZE, left : left + SIZE].transpose(2, 0, 1)


@pytest.mark.parametrize(("scale", "q"), [(None, 16), (12, 12), (20, 20)])
def test_center_is_a_plain_loop(scale: int | None, q: int) -> None:
    images, classifier = ragged_images((30, 40, 3), (25, 13, 3), (7, 9, 3)), Pixels()
    scores = Center(scale)(classifier, images)
    expected = np.stack([center_by_hand(image, q) for image in images])
    assert (classifier.seen[0].numpy() == expected).all()
    assert (scores.numpy() == expected[:, 0, 0, :3]).all()


def test_resize_is_a_plain_loop() -> None:
    images, classifier = ragged_images((30, 40, 3), (25, 13, 3)), Pixels()
    Resize()(classifier, images)
    squashed = [np.asarray(Image.fromarray(i).resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for i in images]
    assert (classifier.seen[0].numpy() == np.stack(squashed).transpose(0, 3, 1, 2)).all()


@pytest.mark.parametrize("rule", get_args(Rules))
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_an_image_of_the_native_size_stays_unchanged(protocol: Center | Resize, rule: Rules) -> None:
    classifier = Pixels(preprocess=Preprocess(size=SIZE, scale=SIZE if rule == "shorter" else 256, resize=rule))
    images = ragged_images((SIZE, SIZE, 3))
    protocol(classifier, images)
    assert (classifier.seen[0][0].numpy() == images[0].transpose(2, 0, 1)).all()


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_no_images_give_no_rows(protocol: Center | Resize) -> None:
    assert protocol(Pixels(), []).shape == (0, 3)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_constant_image_stays_constant(protocol: Center | Resize) -> None:
    classifier = Pixels()
    protocol(classifier, [np.full((31, 17, 3), 93, np.uint8)])
    assert (classifier.seen[0] == 93).all()


def test_colour_and_channel_order_are_the_models() -> None:
    grey = Pixels(preprocess=Preprocess(size=SIZE, scale=16, colour="grey"))
    bgr = Pixels(preprocess=Preprocess(size=SIZE, scale=16, channels="bgr"))
    rgb = Pixels()
    images = ragged_images((20, 20, 3))
    for classifier in (grey, bgr, rgb):
        Center()(classifier, images)
    assert grey.seen[0].shape == (1, 1, SIZE, SIZE)
    assert torch.equal(bgr.seen[0].flip(1), rgb.seen[0]) and not torch.equal(bgr.seen[0], rgb.seen[0])


def test_a_scale_below_the_native_size_is_named() -> None:
    with pytest.raises(UserError, match=r"Q is 10 pixels.* at least 12"):
        Center(10)(Pixels(), ragged_images((20, 20, 3)))


def test_flip_averages_the_probabilities_of_crop_and_mirror() -> None:
    classifier, images = Linear(LARGER, gain=4), ragged_images((30, 40, 3), (25, 13, 3))
    crops = torch.from_numpy(np.stack([center_by_hand(image, 16) for image in images]))
    both = torch.stack([classifier.scores(crops), classifier.scores(crops.flip(3))])
    found = Center(flip=True)(classifier, images).softmax(1)
    assert near(found, both.softmax(2).mean(0))
    assert not near(found, both.mean(0).softmax(1), 1e-3)
    assert not near(found, Center()(classifier, images).softmax(1), 1e-3)
