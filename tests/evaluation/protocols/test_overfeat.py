"""OverFeat's protocol: the finer map, each class's highest probability, the paper's scales."""

from dataclasses import replace

import pytest
import torch

from imclass.core.errors import UserError
from imclass.evaluation.protocols.overfeat import OverFeat
from imclass.models.analysis.surgery import fine_network
from imclass.models.views.posteriors import highest_posterior
from tests.support.narrowed import small
from tests.support.tolerance import near
from tests.support.viewers import ragged_images


def test_it_is_the_highest_probability_of_the_finer_map() -> None:
    classifier, images = small("lenet-5"), ragged_images((40, 55, 3), (44, 33, 3))
    found = OverFeat((30, 36))(classifier, images)
    finer = fine_network(classifier.network).eval()
    for image, row in zip(images, found, strict=True):
        total = torch.zeros(5, dtype=torch.float64)
        for q in (30, 36):
            rule = replace(classifier.preprocess, scale=q)
            view = torch.from_numpy(rule.apply_resize(rule.convert_colour(image)).transpose(2, 0, 1).copy())[None]
            for each in (view, view.flip(3)):
                with torch.inference_mode():
                    total += finer.dense(each)[0].double().softmax(0).flatten(1).max(1).values
        assert near(row.softmax(0).double(), total / total.sum())


def test_the_highest_is_taken_for_each_class() -> None:
    maps = torch.tensor([[[[5.0, 0.0]], [[0.0, 5.0]], [[0.0, 0.0]]]])
    found = highest_posterior(maps)
    sure, rest = maps[0, :, 0, 0].softmax(0)[[0, 2]].tolist()
    assert near(found, torch.tensor([[sure, sure, rest]], dtype=torch.float64)) and found.sum() > 1


def test_scales_are_in_proportion_to_the_accurate_network() -> None:
    classifier = small("lenet-5")  # 28 pixels: 245 / 221 of them are 31.04
    images = ragged_images((40, 40, 3))
    assert torch.equal(OverFeat()(classifier, images), OverFeat((31, 36, 40, 49, 54, 58))(classifier, images))


def test_the_classifier_itself_does_not_change() -> None:
    classifier, images = small("lenet-5"), ragged_images((40, 40, 3))
    before = classifier.classify(images)
    OverFeat()(classifier, images)
    assert torch.equal(before, classifier.classify(images))


def test_a_network_without_pooling_is_refused_before_any_image_is_read() -> None:
    with pytest.raises(UserError, match="no pooling"):
        OverFeat()(small("resnet-cifar-20"), [])


def test_a_network_that_already_pools_at_every_position_is_used_as_it_is() -> None:
    classifier, images = small("lenet-5"), ragged_images((40, 40, 3))
    expected = OverFeat((30, 36))(classifier, images)
    assert torch.equal(OverFeat((30, 36))(classifier.transform("fine"), images), expected)
