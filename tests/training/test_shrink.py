"""The rule by which recipes for ImageNet are scaled down."""

from dataclasses import replace

import pytest

from imclass.app.settings.configure import recipes
from imclass.core.config import Training
from imclass.core.errors import UserError
from imclass.data.augment.crop import Crop
from imclass.recipes.imagenet import imagenet_googlenet
from imclass.recipes.imagenet_resnet import imagenet_resnet_50, imagenet_resnext_50
from imclass.recipes.imagenet_vgg import imagenet_vgg, imagenet_vgg_d
from imclass.training.events import StepEnd
from imclass.training.loop import step
from imclass.training.parallel import SingleProcess
from imclass.training.schedules.plateau import Plateau
from imclass.training.schedules.step import StepDecay
from imclass.training.shrink import arrange, shrink
from tests.support.legs import enter_leg, legs_of, noise

FOUND = {n: make for n, make in recipes().entries.items() if n.startswith("imagenet-") and isinstance(make(), Training)}
LARGER = ("imagenet-alexnet", "imagenet-googlenet")  # networks that need images of 3/8 of their size


@pytest.mark.parametrize("name", FOUND)
def test_lengths_keep_the_ratios_of_the_paper(name: str) -> None:
    paper, small = FOUND[name](), FOUND[name](scale_down=True)
    ratio = 3 / 8 if name in LARGER else 1 / 4
    for before, after in zip((paper, *paper.stages), (small, *small.stages), strict=True):
        if before.preprocess is not None:
            assert after.preprocess.size == pytest.approx(ratio * before.preprocess.size)
            assert after.preprocess.scale == pytest.approx(ratio * before.preprocess.scale, abs=0.5)
    assert small.model.row["size"] == small.preprocess.size
    for before, after in zip(paper.stages, small.stages, strict=True):
        pairs = zip(before.augment, after.augment, strict=True)
        ranges = [(b.shorter, a.shorter) for b, a in pairs if isinstance(b, Crop) and isinstance(a, Crop)]
        assert all(a == tuple(ratio * side for side in b) for b, a in ranges)
        assert after.batch == before.batch / 4 and after.epochs == round(before.epochs / 3)
        assert (after.optimiser, after.objective, after.begin) == (before.optimiser, before.objective, before.begin)
        assert before.schedule and after.schedule and after.schedule.rate == before.schedule.rate
    assert small.validation == (0.1 if paper.validation else 0)


def test_the_scales_of_the_chain_are_those_of_the_paper_divided_by_four() -> None:
    small = imagenet_vgg(scale_down=True)
    assert [stage.preprocess.scale for stage in small.stages if stage.preprocess] == [64, 64, 96, 96]
    ranges = [rule.shorter for stage in small.stages for rule in stage.augment if isinstance(rule, Crop)]
    assert ranges == [(64, 64), (64, 64), (96, 96), (64, 128)]
    assert [stage.descent[1].rate for stage in small.stages] == [1e-2, 1e-2, 1e-3, 1e-3]
    assert small.stages[1].model is not None and small.stages[1].model.row == {
        "size": 56, "widths": (16, 32, 64, 128, 128), "hidden": (1024, 1024)
    }  # fmt: skip


@pytest.mark.slow
def test_all_widths_are_divided_by_four() -> None:
    assert imagenet_resnet_50(scale_down=True).model.row["widths"] == ((16, 64), (32, 128), (64, 256), (128, 512))
    row = imagenet_resnext_50(scale_down=True).model.row
    assert (row["groups"], row["widths"][0], row["stem"]) == (8, (32, 64), 16)  # paths keep their width, 4
    assert imagenet_googlenet(scale_down=True).model.row["width"] == 0.25
    assert FOUND["imagenet-alexnet"](scale_down=True).model.row["groups"] == 2


def test_all_that_counts_epochs_changes_with_the_length() -> None:
    quarter = imagenet_vgg(length=0.25)
    assert [stage.epochs for stage in quarter.stages] == [19, 19, 9, 9]
    assert quarter.stages[0].schedule == Plateau(rate=1e-2, patience=2, falls=3)
    assert imagenet_resnext_50(length=0.1).stages[0].schedule == StepDecay(rate=0.1, epochs=(3, 6, 9))
    assert [stage.epochs for stage in imagenet_vgg(scale_down=True, length=0.25).stages] == [6, 6, 3, 3]
    with pytest.raises(UserError, match=r"--length is 1e\+308; it must be above 0 and at most 1,000"):
        imagenet_vgg(length=1e308)
    with pytest.raises(UserError, match=r"--length is 0\.0; it must be above 0"):
        arrange(imagenet_vgg(), 0.0, False)


def test_a_network_that_never_fits_is_refused() -> None:
    paper = imagenet_vgg_d()
    with pytest.raises(UserError, match="vgg-d cannot be scaled down; leave out --scale-down"):
        shrink(replace(paper, model=replace(paper.model, row={"kernels": ((3,),)})))


def losses(training: Training, initialiser: str) -> list[float]:
    """Return the losses of a few steps of a training's first stage on noisy images."""
    model = replace(training.model, initialiser=initialiser, mean_colour=False)
    stage = replace(training.stages[0], batch=16, augment=(), preprocess=None)
    (leg,) = legs_of(noise(96, training.preprocess.size), (stage,), model, training.preprocess)
    state = enter_leg(leg)
    found = [step(leg, state, SingleProcess(), batch, 0.0) for epoch in (0, 1) for batch in leg.loader.batches(epoch)]
    return [event.main for event in found if isinstance(event, StepEnd)]


@pytest.mark.slow
def test_the_initial_weights_let_a_narrow_vgg_learn() -> None:
    small = FOUND["imagenet-vgg-a"](scale_down=True)
    he, paper = losses(small, small.model.initialiser), losses(small, "vgg")
    assert sum(he[-3:]) < 0.8 * sum(he[:3])
    assert max(paper) - min(paper) < 0.02  # the signal of the paper's weights vanishes in narrow layers
