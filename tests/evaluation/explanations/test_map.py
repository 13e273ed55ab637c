"""The map of a class: each position is the network on its crop, and is drawn where that crop lies."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imclass.core.errors import UserError
from imclass.evaluation.explanation import Explanation, explanations
from imclass.evaluation.explanations import map as map_method
from imclass.evaluation.explanations.map import ScoreMap
from imclass.models.classifier import NetworkClassifier
from tests.support.narrowed import small
from tests.support.tolerance import assert_near
from tests.support.viewers import ragged_images


@pytest.fixture(scope="module")
def lenet() -> NetworkClassifier:
    """Return a LeNet-5, which pads nothing, so that inner crops see no more than crops that are images."""
    return small("lenet-5")


def test_every_method_keeps_the_contract() -> None:
    found = explanations()
    assert "map" in found.entries and not found.failures
    assert all(isinstance(each, Explanation) and each.name == name for name, each in found.entries.items())


@pytest.mark.parametrize("form", ["", "convolutional", "fine"])
@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_each_position_is_the_network_on_the_crop(lenet: NetworkClassifier, form: str, link: str) -> None:
    """Compute each probability from the crop alone. The fine network pools from every pixel of its last maps."""
    (image,) = ragged_images((50, 61, 3))
    classifier = replace(lenet, link=link)  # type: ignore[arg-type]
    used = classifier.transform(form) if form else classifier  # type: ignore[arg-type]
    (found,) = ScoreMap()(used, image, 3, (40,))
    rule = replace(classifier.preprocess, scale=40)
    view = torch.from_numpy(rule.apply_resize(rule.convert_colour(image)).transpose(2, 0, 1).copy())[None]
    stride = 2 if form == "fine" else 4
    rows, columns = found.values.shape
    assert (rows, columns) == ((40 - 28) // stride + 1, (view.shape[3] - 28) // stride + 1)
    for y in range(0, rows, 4 // stride):  # between these, the pooling of a crop would begin at an odd place
        for x in range(0, columns, 4 // stride):
            scores = classifier.scores(view[:, :, stride * y : stride * y + 28, stride * x : stride * x + 28]).double()
            expected = scores.softmax(1) if link == "softmax" else scores.sigmoid()
            assert_near(found.values[y, x], expected[0, 3], 1e-5)


def test_boxes_are_in_pixels_of_the_image(lenet: NetworkClassifier) -> None:
    image = ragged_images((56, 112, 3))[0]
    (found,) = ScoreMap()(lenet, image, 1, (40,))  # resized to 40 x 80: crops begin at 0, 4 .. 12 and 0, 4 .. 52
    assert found.values.shape == (4, 14) and found.highest == found.values.max()
    scale = 56 / 40
    assert found.box == pytest.approx([scale * side for side in (12, 12, 12 + 14 * 4, 12 + 4 * 4)])
    row, column = np.unravel_index(found.values.argmax(), found.values.shape)
    left, top = 4 * int(column), 4 * int(row)
    assert found.window == pytest.approx([scale * side for side in (left, top, left + 28, top + 28)])


def test_a_map_of_a_very_long_image_lies_in_its_middle(lenet: NetworkClassifier) -> None:
    """Check that the map is not drawn at the end of a part that was cut off, as it would be without the offset."""
    (found,) = ScoreMap()(lenet, np.zeros((10, 260, 3), np.uint8), 0, (28,))  # 160 of 260 columns are used
    assert found.box[0] == pytest.approx(50 + 12 * 10 / 28) and found.box[2] < 210


def test_by_default_the_image_is_twice_the_size_of_the_network(lenet: NetworkClassifier) -> None:
    assert [each.scale for each in ScoreMap()(lenet, ragged_images((30, 40, 1))[0], 0, ())] == [56]


def test_unusable_scales_and_networks_are_refused_before_any_image(lenet: NetworkClassifier) -> None:
    with pytest.raises(UserError, match="method map: Q is 20 pixels; it must be at least 28"):
        ScoreMap().check(lenet, (20, 40))
    subtracts = small("lenet-5")
    subtracts.network.mean = torch.zeros(1, 28, 28)
    with pytest.raises(UserError, match="subtracts a mean image of 28 x 28"):
        ScoreMap().check(subtracts, ())


def test_a_network_without_maps_is_refused(lenet: NetworkClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_method, "flow", lambda network: [])
    with pytest.raises(UserError, match="method map: lenet-5 has no maps before its head"):
        ScoreMap().check(lenet, (56,))
