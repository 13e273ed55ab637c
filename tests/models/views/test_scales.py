"""A protocol takes its Q from the model's training, from its paper in proportion, or from the user."""

from dataclasses import replace

import pytest

from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.evaluation.protocols.center import Center
from imclass.evaluation.protocols.dense import DENSE
from imclass.evaluation.protocols.multicrop import VGG_MULTICROP
from imclass.models.views.scales import check_scales, proportional_scales, replace_scales, training_scale


def test_the_training_scale_is_that_of_the_preprocess() -> None:
    assert training_scale(Preprocess(size=224, scale=384)) == 384
    assert (
        training_scale(Preprocess(size=32, resize="none")) == training_scale(Preprocess(size=32, resize="squash")) == 32
    )


def test_scales_are_converted_in_proportion() -> None:
    assert proportional_scales((256, 288, 320, 352), 224, 224) == (256, 288, 320, 352)
    assert proportional_scales((256, 288, 320, 352), 224, 299) == (342, 384, 427, 470)  # 341.7, 384.4, 427.1, 469.9
    assert proportional_scales((224, 240), 224, 7) == (7, 8)  # 7.5 is rounded up
    assert min(min(proportional_scales((224, 225), 224, size)) - size for size in range(1, 500)) == 0


def test_scales_of_the_user_replace_those_of_the_protocol() -> None:
    protocol = replace_scales(replace(VGG_MULTICROP, scales=(300,)), [256, 384, 512])
    assert protocol == replace(VGG_MULTICROP, scales=(256, 384, 512))


def test_scales_for_a_protocol_without_them_are_refused() -> None:
    with pytest.raises(UserError, match=r"--scales 256 384: protocol center has no scales. Use .* dense"):
        replace_scales(Center(), (256, 384))


@pytest.mark.parametrize("scales", [(), (0,), (256, -1)])
def test_empty_and_non_positive_scales_are_refused(scales: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"--scales is .*; it must be one or more lengths in pixels"):
        replace_scales(DENSE, scales)


def test_a_scale_below_the_native_size_is_refused() -> None:
    check_scales("protocol dense", (224, 225), Preprocess())
    with pytest.raises(UserError, match=r"protocol dense: Q is 223 pixels; .* at least 224"):
        check_scales("protocol dense", (256, 223), Preprocess())
