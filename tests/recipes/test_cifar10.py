"""Recipes for CIFAR-10: the split and the warm-up of He et al. 2015, and the network of PaddlePaddle's book."""

import shlex
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch

from imclass.app.api import train
from imclass.app.cli.main import main
from imclass.app.settings.configure import configure
from imclass.core.config import Position
from imclass.core.contracts import Origin
from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.data.arrays import ArrayDataset
from imclass.data.sets.cifar import CIFAR10
from imclass.data.source import LazySplits
from imclass.data.subset import with_validation
from imclass.models.classifier import create
from imclass.recipes.cifar10 import cifar10_resnet, cifar10_resnet_adam, cifar10_resnet_quick
from imclass.training.events import StepEnd
from imclass.training.schedules.step import StepDecay
from tests.support.small import tree


@pytest.mark.parametrize(("validation", "epochs", "batches"), [(0.0, 164, 391), (0.1, 182, 352)])
def test_the_recipe_takes_64_000_steps_with_both_splits(validation: float, epochs: int, batches: int) -> None:
    config = configure("cifar10-resnet", validation=validation)
    (stage,) = config.stages
    assert (stage.epochs, config.validation) == (epochs, validation)
    assert 64_000 <= stage.epochs * batches < 64_000 + batches
    assert configure("cifar10-resnet", validation=validation, epochs=5).stages[0].epochs == 5


@pytest.mark.parametrize("validation", [-0.5, 1.0, 7.0])
def test_a_share_that_leaves_no_training_images_is_refused(validation: float) -> None:
    with pytest.raises(UserError, match=f"--validation is {validation}; it must be at least 0 and below 1"):
        configure("cifar10-resnet", validation=validation)


def test_a_tenth_for_validation_is_500_of_the_5_000_images_of_each_class() -> None:
    """Cut two classes of the size of CIFAR-10's. All ten are cut in the same way, which makes 45,000 and 5,000."""
    array, labels = np.zeros((10_000, 1, 1, 1), np.uint8), np.random.default_rng(0).permutation(np.arange(10_000) % 2)
    made = ArrayDataset(array, OneOf(labels), ("cat", "dog"), ("train",), "train", Origin("", "", "published"))
    splits = with_validation(LazySplits(("train",), lambda _: made), configure("cifar10-resnet", validation=0.1).cut)
    assert splits["train"].targets.counts(2).tolist() == [4_500] * 2
    assert splits["validation"].targets.counts(2).tolist() == [500] * 2


def test_only_110_layers_begin_with_a_low_rate() -> None:
    for depth in (20, 32, 44, 56, 110, 1202):
        config = configure("cifar10-resnet", depth=depth)
        schedule = config.stages[0].descent[1]
        assert config == cifar10_resnet(depth) and isinstance(schedule, StepDecay)
        rates = [schedule.rate_at(Position(391, 50_000, 64_124, (), errors)) for errors in ((), (0.85,), (0.85, 0.7))]
        assert rates == pytest.approx([0.01, 0.01, 0.1] if depth == 110 else [0.1] * 3)


def test_the_low_rate_ends_with_the_first_epoch_also_if_the_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stop in the second epoch, when the error of the first is in a checkpoint. An epoch has two steps."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets", 10, side=32)
    row = {"model.depth": 8, "model.widths": (2, 3, 4)}
    warm = {"schedule.steps": (100,), "schedule.warm_rate": 0.001, "schedule.warm_error": 1.0}

    def rates() -> Generator[float, None, None]:
        """Train or resume, and yield the learning rate of each step."""
        events = train("cifar10-resnet", "run", data="pets", batch=8, epochs=2, precision="fp32", override=row | warm)
        yield from (event.rate for event in events if isinstance(event, StepEnd))

    first = rates()
    assert [next(first) for _ in range(3)] == pytest.approx([0.001, 0.001, 0.1])
    first.close()
    assert list(rates()) == pytest.approx([0.1, 0.1])
    words = "--schedule.rate 0.001 --schedule.warm-rate 0.01"
    assert main(shlex.split(f"train cifar10-resnet --data pets --batch 8 {words} --dry-run")) == 2
    assert "--schedule.warm-rate is 0.01; it must be at most the rate, 0.001" in capsys.readouterr().err


def test_the_network_of_the_book_has_a_bias_in_the_second_convolution_of_each_block() -> None:
    config = cifar10_resnet_adam()
    with torch.device("meta"):
        network = create(config.model, CIFAR10.classes, config.preprocess).network
    assert sum(p.numel() for p in network.parameters()) == 467_466
    assert cifar10_resnet_quick().model.row == {}
