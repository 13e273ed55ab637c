"""Recipes for ImageNet: the numbers of the papers, and a few steps of each on a made tree in ImageNet's layout."""

import shlex
from pathlib import Path

import pytest

from imclass.app import api
from imclass.app.cli.main import main
from imclass.app.settings.configure import recipes
from imclass.core.config import CrossEntropy, Stage, Training
from imclass.data.augment.area import Area
from imclass.data.augment.crop import Crop
from imclass.data.augment.flip import Flip
from imclass.data.augment.pca_colour import PcaColour
from imclass.recipes.imagenet import imagenet_alexnet, imagenet_googlenet
from imclass.recipes.imagenet_resnet import imagenet_resnet_34, imagenet_resnext_50
from imclass.recipes.imagenet_vgg import imagenet_vgg, imagenet_vgg_a, imagenet_vgg_e
from imclass.training.averages.polyak import Polyak
from imclass.training.events import StepEnd
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.exponential import Exponential
from imclass.training.schedules.plateau import Plateau
from imclass.training.schedules.step import StepDecay
from tests.support.ilsvrc_tree import ilsvrc_tree

NAMES = [n for n, make in recipes().entries.items() if n.startswith("imagenet-") and isinstance(make(), Training)]
QUICK = ("imagenet-resnet-18", "imagenet-vgg-a")
IMAGES = 1_281_167  # in ILSVRC-2012's training split


def only_stage(training: Training) -> Stage:
    """Return the stage of a training that has one."""
    (stage,) = training.stages
    return stage


def test_alexnet_is_trained_as_in_its_paper() -> None:
    stage = only_stage(imagenet_alexnet())
    assert (stage.epochs, stage.batch, stage.optimiser) == (90, 128, SGD(momentum=0.9, weight_decay=5e-4))
    assert stage.schedule == Plateau(rate=0.01, factor=0.1, patience=8, falls=3)
    assert stage.augment == (Crop(shorter=(256.0, 256.0), square=True), Flip(), PcaColour(deviation=0.1))
    assert imagenet_alexnet().model.mean_image and round(imagenet_alexnet().validation * IMAGES, -4) == 50_000


def test_googlenet_is_trained_as_in_its_paper() -> None:
    stage = only_stage(imagenet_googlenet())
    assert stage.schedule == Exponential(rate=0.01, factor=0.96, every=8) and stage.optimiser == SGD(weight_decay=2e-4)
    assert stage.augment[0] == Area(area=(0.08, 1.0), aspect=(3 / 4, 4 / 3)) and isinstance(stage.average, Polyak)


def test_residual_networks_are_trained_as_in_their_papers() -> None:
    resnet, resnext = only_stage(imagenet_resnet_34()), only_stage(imagenet_resnext_50())
    assert resnet.epochs == round(600_000 * 256 / IMAGES) and resnet.batch == resnext.batch == 256
    assert resnet.augment == (Crop(shorter=(256.0, 480.0)), Flip(), PcaColour(deviation=0.1))
    assert resnet.schedule == Plateau(rate=0.1, factor=0.1, patience=8) and resnet.optimiser == SGD(weight_decay=1e-4)
    assert resnext.schedule == StepDecay(rate=0.1, epochs=(30, 60, 90)) and resnext.epochs == 100


def test_vgg_is_trained_as_in_its_paper() -> None:
    stage = only_stage(imagenet_vgg_a())
    assert stage.epochs == round(370_000 * 256 / IMAGES) and stage.batch == 256
    assert (stage.optimiser, stage.objective) == (SGD(momentum=0.9, weight_decay=5e-4), CrossEntropy())
    assert stage.schedule == Plateau(rate=1e-2, factor=0.1, patience=8, falls=3) and imagenet_vgg_a().model.mean_colour
    jittered = imagenet_vgg_e(scale="jitter")
    assert only_stage(jittered).augment[0] == Crop(shorter=(256.0, 512.0)) and jittered.preprocess.scale == 384


def test_the_chain_of_vgg_has_the_steps_of_its_paper() -> None:
    chain = imagenet_vgg()
    assert [stage.name for stage in chain.stages] == ["a-256", "d-256", "d-384", "d-jitter"]
    assert [stage.begin for stage in chain.stages] == ["continue", "first-and-last", "continue", "continue"]
    assert [stage.model and stage.model.network for stage in chain.stages] == [None, "vgg-d", None, None]
    assert [stage.descent[1].rate for stage in chain.stages] == [1e-2, 1e-2, 1e-3, 1e-3]
    assert [stage.preprocess and stage.preprocess.scale for stage in chain.stages] == [256, 256, 384, 384]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_whose_rate_falls_on_a_plateau_holds_out_validation_images(name: str) -> None:
    training = recipes().entries[name]()
    waits = any(stage.schedule and stage.schedule.needs_validation for stage in training.stages)
    assert (training.validation > 0) == waits


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in NAMES])
def test_a_recipe_takes_a_few_steps_on_a_tree_in_the_layout_of_imagenet(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ilsvrc_tree(tmp_path / "imagenet", per_class=12)
    events = api.train(
        name, data=str(data), out="run", scale_down=True, length=0.01, batch=8, precision="fp32", workers=0
    )
    steps = [event for event, _ in zip((e for e in events if isinstance(e, StepEnd)), range(2), strict=False)]
    assert len(steps) == 2 and all(event.total > 0 for event in steps)


@pytest.mark.slow
def test_a_dry_run_prints_what_the_full_size_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ilsvrc_tree(tmp_path / "imagenet", per_class=12)
    words = ["train", "imagenet-resnet-18", "--data", str(data), "--out", str(tmp_path / "run"), "--precision", "fp32"]
    assert main([*words, "--dry-run"]) == 0
    shown = capsys.readouterr()
    printed = shown.out + shown.err
    assert all(f"\n{what}" in printed for what in ("time: about", "memory: about", "disk space for checkpoints"))


CHAIN = shlex.split("train imagenet-vgg --data photos --scale-down --length 0.01 --precision fp32 --out chain")


@pytest.mark.slow
def test_one_command_trains_the_chain_and_its_stages_fill_the_papers_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "export", "mnist-sample", "--split", "test", "--most", "60", "--out", "photos"]) == 0
    assert main(CHAIN) == 0
    legs = sorted(str(path) for path in Path("chain/legs").iterdir())
    assert [Path(leg).name for leg in legs] == ["01-a-256", "02-d-256", "03-d-384", "04-d-jitter"]
    before = {leg: (Path(leg) / "model.safetensors").stat().st_mtime_ns for leg in legs}
    assert main(CHAIN) == 0  # nothing is trained again
    assert {leg: (Path(leg) / "model.safetensors").stat().st_mtime_ns for leg in legs} == before
    capsys.readouterr()
    assert (
        main(["evaluate", *legs, "--data", "photos", "--protocol", "dense", "--table", "3", "--weights", "none"]) == 0
    )
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "photos test" in line and line[0] != "["]
    assert [row[:3] for row in rows] == [
        ["A", "256", "256"],
        ["D", "256", "256"],
        ["D", "384", "384"],
        ["D", "[256;512]", "384"],
    ]
