"""Resolving stages to legs: inherited fields, checks, and the parts of a batch that can be learned from."""

from typing import Any

import numpy as np
import pytest
import torch

from imclass.core.config import Model, Stage
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.core.targets import OneOf
from imclass.data.augment.crop import Crop
from imclass.data.loader import Batch, Part
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.constant import Constant
from tests.support.legs import leg_of, legs_of, noise

SETTINGS = {"batch": 8, "optimiser": SGD(), "schedule": Constant()}
LENET = Model("lenet-5", mean=(0.4,))


def stage(**changes: object) -> Stage:
    return Stage(**{**SETTINGS, **changes})  # type: ignore[arg-type]


def test_a_stage_without_a_network_or_preprocess_takes_those_before_it() -> None:
    narrow, small = Model("lenet-5-32", {"widths": (3, 4)}), Preprocess(32, "grey", "squash")
    stages = (stage(), stage(model=narrow, preprocess=small, begin="fresh"), stage(name="again", epochs=3))
    legs = legs_of(noise(16, 28, 1), stages, LENET, Preprocess(28, "grey", "squash"))
    assert [leg.model.network for leg in legs] == ["lenet-5", "lenet-5-32", "lenet-5-32"]
    assert [leg.preprocess.size for leg in legs] == [leg.loader.preprocess.size for leg in legs] == [28, 32, 32]
    assert [leg.name for leg in legs] == ["lenet-5", "lenet-5-32", "again"]
    assert [leg.last_epoch for leg in legs] == [1, 2, 5] and [leg.steps for leg in legs] == [2, 2, 6]
    assert [leg.make().name for leg in legs] == [leg.model.network for leg in legs]
    assert tuple(legs[2].make().row["widths"]) == (3, 4)


def test_padding_takes_the_mean_of_the_legs_network() -> None:
    other = Model("lenet-5", mean=(0.8,))
    legs = legs_of(noise(16, 28, 1), (stage(), stage(model=other)), LENET, Preprocess(28, "grey", "squash"))
    assert [leg.loader.fill.tolist() for leg in legs] == [[102], [204]]


def test_a_mean_image_is_the_networks_mean() -> None:
    from dataclasses import replace

    leg = leg_of(noise(16, 28, 1), LENET, 28, "grey")
    image = torch.rand(1, 28, 28)
    assert torch.equal(replace(leg, mean=image).make().network.mean, image)
    assert leg.make().network.mean.flatten().tolist() == pytest.approx([0.4])


def part(*positions: int) -> Part:
    """Return a part of black images with these positions."""
    array = np.array(positions, np.int64)
    images = torch.zeros(len(array), 3, 32, 32, dtype=torch.uint8)
    return Part(images=images, targets=OneOf(np.zeros(len(array), np.int64)), ids=array, positions=array)


@pytest.mark.parametrize(
    ("network", "kept", "alone"),
    [("resnet-cifar-20", [0], ("train/00004",)), ("vgg-a", [0, 1], ())],
)
def test_under_batch_norm_a_part_of_one_image_cannot_be_learned_from(
    network: str, kept: list[int], alone: tuple[str, ...]
) -> None:
    row = {"size": 32} if network == "vgg-a" else {}
    leg = leg_of(noise(16, 32), Model(network, dict(row)), 32, micro_batches=3)
    batch = Batch({0: part(1, 2, 3), 1: part(4), 2: part()}, 3)
    parts, names = leg.learnable_parts(batch)
    assert list(parts) == kept and names == alone
    assert leg.names(batch.parts.values()) == ("train/00001", "train/00002", "train/00003", "train/00004")


def test_a_pattern_without_a_layer_is_refused() -> None:
    with pytest.raises(UserError, match="matches no layer"):
        leg_of(noise(16, 28, 1), LENET, 28, "grey", rates={"tail": 0.0})


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"preprocess": Preprocess(32, "grey", "squash")}, "stage late: --stages.1.preprocess.size is 32, "),
        ({"augment": (Crop(shorter=(20.0, 40.0)),)},
         "stage late: --stages.1.augment.crop.shorter 20 40 begins below --stages.1.preprocess.size 28"),
        ({"rates": {"fc": 1.0}}, "stage late: --stages.1.rates.fc matches no layer"),
        ({"model": Model("resnet-cifar-20"), "preprocess": Preprocess(32, "grey"), "begin": "fresh", "batch": 1},
         "stage late: --stages.1.batch 1 is too small"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_later_stage_names_its_options(second: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        legs_of(noise(16, 28, 1), (stage(), stage(name="late", **second)), LENET, Preprocess(28, "grey", "squash"))
    assert str(caught.value).startswith(message)
