"""Contract of every recipe, and the numbers that the papers and the book give."""

import inspect
from typing import get_type_hints

import pytest

from imclass.app.settings.configure import recipes
from imclass.core.codec import from_json, to_json
from imclass.core.config import Fitting, Training
from imclass.data.augment.flip import Flip
from imclass.data.augment.pad import Pad
from imclass.data.catalog import dataset_table
from imclass.models.classifier import networks
from imclass.models.entry import native_size
from imclass.pipelines.parts.patches import Patches
from imclass.pipelines.parts.pyramid import Pyramid
from imclass.pipelines.parts.triangle import Triangle
from imclass.pipelines.parts.whiten import Whiten
from imclass.recipes.cifar10 import cifar10_resnet, cifar10_vgg
from imclass.recipes.cifar10_coates import cifar10_coates
from imclass.recipes.folder import folder
from imclass.recipes.mnist import mnist_lenet
from imclass.training.kinds import kind_tables
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.discrete_exponential import DiscreteExponential
from imclass.training.schedules.step import StepDecay

FOUND = recipes()
FOLDERS = ("folder-bow-spm", "folder-deep-svm", "folder-fisher", "folder-llc", "folder-scspm")  # for a folder of photos
PHOTOS = ("finetune", "folder", "folder-modern", "probe", *FOLDERS)  # recipes for a folder of photos
NETWORKS = [name for name, make in FOUND.entries.items() if get_type_hints(make)["return"] is Training]
TRAINING = 50_000  # images of CIFAR-10


@pytest.mark.parametrize("name", FOUND.entries)
def test_a_recipe_returns_a_complete_config_under_its_name(name: str) -> None:
    make = FOUND.entries[name]
    config = make()
    assert config.recipe == name
    assert type(config) is get_type_hints(make)["return"] and isinstance(config, Training | Fitting)
    assert from_json(type(config), to_json(config), "", kind_tables()) == config
    assert config.data in dataset_table().entries or name in PHOTOS
    assert f"`imclass train {name}" in (inspect.getdoc(make) or "")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recipe_preprocesses_images_as_its_network_needs(name: str) -> None:
    config = FOUND.entries[name]()
    assert all(stage.epochs >= 1 for stage in config.stages) and len(config.stages) >= 1
    entry = networks().entries[config.model.network]
    assert config.preprocess.w_in == entry.w_in
    if name not in PHOTOS:  # photos are larger than the native size of small networks
        assert config.preprocess.size == config.model.row.get("size", native_size(entry.row, config.model.network))
    assert len(config.model.mean) in (1, entry.w_in) and len(config.model.std) in (1, entry.w_in)


@pytest.mark.parametrize(("photos", "warmup"), [(16, 3), (80, 9), (100, 12), (245, 24), (2_934, 200), (100_000, 200)])
def test_a_folder_warms_up_for_at_most_a_tenth_of_its_steps(photos: int, warmup: int) -> None:
    (stage,) = folder().stages
    assert stage.descent[1].warmup_of(stage.epochs * -(-photos // stage.batch)) == warmup


def test_every_recipe_can_be_imported() -> None:
    assert FOUND.failures == ()
    assert {"mnist-lenet", "folder", "cifar10-vgg", "cifar10-resnet"} <= set(FOUND.entries)


def test_the_rate_of_cifar10_resnet_falls_within_the_papers_64_000_steps() -> None:
    """Compare with He et al. 2015, section 4.2."""
    (stage,) = cifar10_resnet().stages
    steps = stage.epochs * -(-TRAINING // stage.batch)
    assert stage.schedule == StepDecay(rate=0.1, steps=(32_000, 48_000)) and 64_000 <= steps < 64_000 + 391
    assert (stage.batch, stage.optimiser) == (128, SGD(momentum=0.9, weight_decay=1e-4))
    assert stage.augment == (Pad(pixels=4), Flip())
    assert cifar10_resnet(depth=56).model.network == "resnet-cifar-56"


def test_cifar10_coates_has_the_papers_settings() -> None:
    """Compare with sections 3 and 4 of the paper, and its figure of 4,000 features."""
    config = cifar10_coates(4000)
    assert config.parts[:-1] == (
        Patches(side=6, step=1, colour="rgb", contrast=10.0),
        Whiten(floor=0.1),
        Pyramid(grids=("2x2",)),
        Triangle(words=4000, pool="sum"),
    )
    assert config.parts[-1].kind == "linear-svm" and config.sample == 400_000


def test_the_rate_of_cifar10_vgg_falls_every_hundred_passes() -> None:
    (stage,) = cifar10_vgg().stages
    assert stage.schedule == DiscreteExponential(rate=0.1, factor=0.1, every=100 * TRAINING)
    assert (stage.epochs, stage.batch, stage.augment) == (300, 128, (Flip(),))


def test_parameters_of_a_recipe_reach_its_config() -> None:
    assert [s.epochs for s in mnist_lenet(epochs=7).stages] == [s.epochs for s in folder(epochs=7).stages] == [7]
    assert mnist_lenet(data="pets").data == folder("pets").data == "pets"
