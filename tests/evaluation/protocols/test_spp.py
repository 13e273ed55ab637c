"""SPP-net's protocol against a loop over its views, and the networks that it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.evaluation.protocols.spp import SpatialPyramidViews
from imclass.models.nets.spp import SPPNet
from tests.support.narrowed import small
from tests.support.tolerance import near
from tests.support.viewers import ragged_images

SIZE = 63  # of the small network; the paper's 256 is 72 in proportion to its 224


def rescale(image: np.ndarray, q: int) -> Tensor:
    rule = replace(small("spp-zf-5").preprocess, scale=q)
    return torch.from_numpy(rule.apply_resize(rule.convert_colour(image)).transpose(2, 0, 1).copy())


def test_it_averages_distinct_windows_and_the_whole_image() -> None:
    classifier, images = small("spp-zf-5"), ragged_images((100, 140, 3), (150, 90, 3))
    network = classifier.network
    assert isinstance(network, SPPNet)
    network.eval()  # `scores` turns dropout off, but calls of the network itself would not
    network.get_parameter("head.fc8.weight").data *= 0.1  # otherwise one class gets nearly all of every view
    found = SpatialPyramidViews((SIZE, 80))(classifier, images).softmax(1).double()
    for image, row in zip(images, found, strict=True):
        views = []
        for q in (SIZE, 80):
            scaled = rescale(image, q)
            height, width = scaled.shape[1:]
            tops, lefts = ((0, (side - SIZE) // 2, side - SIZE) for side in (height, width))
            places = {(y, x) for y in tops for x in lefts}
            views += [scaled[:, y : y + SIZE, x : x + SIZE] for y, x in sorted(places)]
        assert len(views) == 3 + 9
        with torch.inference_mode():
            crops = network(torch.stack([v for view in views for v in (view, view.flip(2))]))
            scaled = rescale(image, 72)
            whole = [network.head(network.features(network.prepare(v[None]))) for v in (scaled, scaled.flip(2))]
        expected = torch.cat([crops, *whole]).double().softmax(1)
        assert len(expected) == 24 + 2
        assert near(row, expected.mean(0))
        assert not near(row, expected[:-2].mean(0), 1e-4)  # without the whole image


def test_the_scales_of_the_paper_are_its_defaults() -> None:
    protocol = SpatialPyramidViews()
    assert protocol.scales_for(Preprocess(224, scale=256)) == (224, 256, 300, 360, 448, 560)
    assert protocol.scales_for(small("spp-zf-5").preprocess)[0] == SIZE


def test_other_networks_and_small_scales_are_refused_before_any_image_is_read() -> None:
    with pytest.raises(UserError, match="lenet-5 has no spatial pyramid"):
        SpatialPyramidViews().check(small("lenet-5"))
    with pytest.raises(UserError, match="Q is 60 pixels; it must be at least 63"):
        SpatialPyramidViews((60,)).check(small("spp-zf-5"))


def test_the_classifier_itself_does_not_change() -> None:
    classifier, images = small("spp-zf-5"), ragged_images((70, 80, 3))
    before = classifier.classify(images)
    SpatialPyramidViews((SIZE,))(classifier, images)
    assert torch.equal(before, classifier.classify(images))
