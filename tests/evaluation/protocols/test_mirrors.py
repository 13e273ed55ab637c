"""`flip` and `shift6` equal a plain numpy loop with airbench's weights."""

import numpy as np
import pytest
import torch

from imclass.core.preprocess import Preprocess
from imclass.evaluation.protocols.mirrors import MirrorMean, Shift6, reflect_positions
from tests.support.tolerance import near
from tests.support.viewers import Linear, ragged_images

CIFAR = Preprocess(size=8, resize="none")
LARGER = Preprocess(size=8, scale=9)


def by_hand(classifier: Linear, image: np.ndarray, weights: dict[tuple[int, int], float]) -> torch.Tensor:
    """Return the weighted sum of scores of windows of the image, padded by reflection, and of their mirrors."""
    view = classifier.preprocess(image)
    size, padded = len(view), np.pad(view, ((1, 1), (1, 1), (0, 0)), "reflect")
    total = torch.zeros(len(classifier.classes))
    for (top, left), weight in weights.items():
        window = padded[top : top + size, left : left + size]
        for each in (window, window[:, ::-1]):
            pixels = torch.from_numpy(each.transpose(2, 0, 1).copy())
            total += weight / 2 * classifier.scores(pixels[None])[0]
    return total


@pytest.mark.parametrize("rule", [CIFAR, LARGER], ids=["none", "shorter"])
def test_views_are_a_plain_loop(rule: Preprocess) -> None:
    classifier, images = Linear(rule), ragged_images((8, 8, 3), (8, 8, 3), (8, 8, 3))
    flip = torch.stack([by_hand(classifier, image, {(1, 1): 1}) for image in images])
    six = torch.stack([by_hand(classifier, image, {(1, 1): 0.5, (0, 0): 0.25, (2, 2): 0.25}) for image in images])
    assert near(MirrorMean()(classifier, images), flip)
    assert near(Shift6()(classifier, images), six)
    assert not near(flip, six, 1e-3)


def test_flip_has_two_views_and_shift6_has_six() -> None:
    for protocol, count in ((MirrorMean(), 2), (Shift6(), 6)):
        classifier = Linear(CIFAR)
        protocol(classifier, ragged_images((8, 8, 3)))
        assert len({view.numpy().tobytes() for batch in classifier.seen for view in batch}) == count


def test_the_border_is_reflected_without_its_edge() -> None:
    assert reflect_positions(torch.arange(-1, 5), 4).tolist() == [1, 0, 1, 2, 3, 2]
    assert reflect_positions(torch.arange(-1, 2), 1).tolist() == [-1, 0, -1]  # a single pixel has no neighbour


def test_scores_are_averaged_and_not_probabilities() -> None:
    classifier, images = Linear(CIFAR), ragged_images((8, 8, 3), (8, 8, 3), (8, 8, 3))
    pixels = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())
    both = torch.stack([classifier.scores(pixels), classifier.scores(pixels.flip(3))])
    of_scores, of_posteriors = both.mean(0).softmax(1), both.softmax(2).mean(0)
    found = MirrorMean()(classifier, images).softmax(1)
    assert near(found, of_scores) and not near(found, of_posteriors, 1e-3)
