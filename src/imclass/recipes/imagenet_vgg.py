"""Recipes for VGG on ImageNet, or with `--scale-down` on a folder of a few thousand photos.

Karen Simonyan and Andrew Zisserman, ICLR 2015, arXiv:1409.1556, section 3.1. The settings are batches of 256, momentum
0.9, weight decay 5e-4, dropout 0.5 in the first two fully connected layers, a learning rate of 1e-2 that is divided by
10 when the validation accuracy stops rising, three times in all, and 74 epochs (370,000 steps). The mean colour of the
training images is subtracted. An image is rescaled so that its shorter side is S, and each step uses one random crop of
224 pixels, flipped at random, with the random colour shift of Krizhevsky et al. 2012.

S is 256, 384, or drawn for each image from 256 to 512. In the paper, a network for S = 384 began from the weights for
S = 256, with a rate of 1e-3. A network for jittered S was fine-tuned from the one for S = 384. The paper does not give
that rate, and 1e-3 is used here. In Table 3, Q is S, or 384 for jittered S.

The paper does not give the patience of the plateau: here it is 8 epochs. Nor does it give the length of the later
training: here it is half of the first. In the paper the validation images were ILSVRC's, on which the errors were also
reported. Here they are held out of the training images, and the errors are reported on images that chose nothing.
"""
# Tested in tests/recipes/test_imagenet.py

from dataclasses import replace
from typing import Literal, TypeAlias

from imclass.core.config import Model, Stage, Training
from imclass.core.preprocess import Preprocess
from imclass.data.augment.crop import Crop
from imclass.data.augment.flip import Flip
from imclass.data.augment.pca_colour import PcaColour
from imclass.recipes.imagenet import DATA, PHOTO_MEAN, PHOTO_RAW_STD, VALIDATION_SHARE
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.plateau import Plateau
from imclass.training.shrink import arrange

Scale: TypeAlias = Literal["256", "384", "jitter"]
RANGES = {"256": (256.0, 256.0), "384": (384.0, 384.0), "jitter": (256.0, 512.0)}  # of S
TEST_SCALES = {"256": 256, "384": 384, "jitter": 384}  # Q in Table 3
EPOCHS = 74


def model_of(network: str) -> Model:
    """Return a VGG with the paper's normalisation."""
    return Model(network, mean=PHOTO_MEAN, std=PHOTO_RAW_STD, mean_colour=True)


def preprocess_of(scale: Scale) -> Preprocess:
    """Return the preprocessing for evaluating a network that was trained at a scale."""
    return Preprocess(size=224, resize="shorter", scale=TEST_SCALES[scale])


def stage_of(
    scale: Scale, name: str = "", model: Model | None = None, begin: Literal["continue", "first-and-last"] = "continue"
) -> Stage:
    """Return a stage that trains a network at a scale. Scales other than 256 have fewer epochs and a lower rate."""
    first = scale == "256"
    return Stage(
        name=name,
        model=model,
        preprocess=preprocess_of(scale),
        begin=begin,
        epochs=EPOCHS if first else EPOCHS // 2,
        batch=256,
        optimiser=SGD(momentum=0.9, weight_decay=5e-4),
        schedule=Plateau(rate=1e-2 if first else 1e-3, factor=0.1, patience=8, falls=3),
        augment=(Crop(shorter=RANGES[scale]), Flip(), PcaColour(deviation=0.1)),
    )


def training_of(name: str, model: Model, stages: tuple[Stage, ...], data: str) -> Training:
    """Return a config. Each of its stages has its preprocessing, which `--init` therefore does not replace."""
    preprocess = stages[0].preprocess or preprocess_of("256")
    return Training(name, model, stages, preprocess, data, validation=VALIDATION_SHARE, precision="auto")


def imagenet_vgg(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train VGG D in the four steps of its paper: A, then D at S = 256, at S = 384, and at jittered S.

    `imclass train imagenet-vgg`, or `imclass train imagenet-vgg --data DIR --scale-down` for a few thousand photos. The
    stages are rows of Table 3. D begins from the first four convolutions and the fully connected layers of A, and all
    its layers learn at the full rate. Published top-1 and top-5 errors are in %:

    - `a-256`: 29.6 and 10.4
    - `d-256`: 27.0 and 8.8
    - `d-384`: 26.8 and 8.7
    - `d-jitter`: 25.6 and 8.1

    With `--length 0.25`, all stages have a quarter of their epochs. docs/training.md shows how to fill the paper's
    tables from the stages, and results on photos of flowers.
    """
    stages = (
        stage_of("256", "a-256"),
        stage_of("256", "d-256", model_of("vgg-d"), "first-and-last"),
        stage_of("384", "d-384"),
        stage_of("jitter", "d-jitter"),
    )
    return arrange(training_of("imagenet-vgg", model_of("vgg-a"), stages, data), length, scale_down)


def single(letter: str, data: str, scale: Scale, length: float, scale_down: bool) -> Training:
    """Return the training of one network at one scale."""
    model = replace(model_of(f"vgg-{letter}"), initialiser="" if letter in ("a", "a-lrn") else "glorot")
    return arrange(training_of(f"imagenet-vgg-{letter}", model, (stage_of(scale),), data), length, scale_down)


def imagenet_vgg_a(data: str = DATA, scale: Scale = "256", length: float = 1.0, scale_down: bool = False) -> Training:
    """Train VGG A, at S = 256 or at the S that `--scale` names.

    `imclass train imagenet-vgg-a`. The errors in Table 3 are 29.6% and 10.4% (S = 256).
    """
    return single("a", data, scale, length, scale_down)


def imagenet_vgg_a_lrn(
    data: str = DATA, scale: Scale = "256", length: float = 1.0, scale_down: bool = False
) -> Training:
    """Train VGG A with local response normalisation, at S = 256 or at the S that `--scale` names.

    `imclass train imagenet-vgg-a-lrn`. The errors in Table 3 are 29.7% and 10.5% (S = 256).
    """
    return single("a-lrn", data, scale, length, scale_down)


def imagenet_vgg_b(data: str = DATA, scale: Scale = "256", length: float = 1.0, scale_down: bool = False) -> Training:
    """Train VGG B, at S = 256 or at the S that `--scale` names.

    `imclass train imagenet-vgg-b`. The errors in Table 3 are 28.7% and 9.9% (S = 256).
    """
    return single("b", data, scale, length, scale_down)


def imagenet_vgg_c(data: str = DATA, scale: Scale = "256", length: float = 1.0, scale_down: bool = False) -> Training:
    """Train VGG C, at S = 256 or at the S that `--scale` names.

    `imclass train imagenet-vgg-c`. The errors in Table 3 are
    28.1% and 9.4% (S = 256), 28.1% and 9.3% (384), 27.3% and 8.8% (jitter).
    """
    return single("c", data, scale, length, scale_down)


def imagenet_vgg_d(data: str = DATA, scale: Scale = "256", length: float = 1.0, scale_down: bool = False) -> Training:
    """Train VGG D, at S = 256 or at the S that `--scale` names.

    `imclass train imagenet-vgg-d`. The errors in Table 3 are
    27.0% and 8.8% (S = 256), 26.8% and 8.7% (384), 25.6% and 8.1% (jitter).
    """
    return single("d", data, scale, length, scale_down)


def imagenet_vgg_e(data: str = DATA, scale: Scale = "256", length: float = 1.0, scale_down: bool = False) -> Training:
    """Train VGG E, at S = 256 or at the S that `--scale` names.

    `imclass train imagenet-vgg-e`. The errors in Table 3 are
    27.3% and 9.0% (S = 256), 26.9% and 8.7% (384), 25.5% and 8.0% (jitter).
    """
    return single("e", data, scale, length, scale_down)


RECIPES = {
    "imagenet-vgg": imagenet_vgg,
    "imagenet-vgg-a": imagenet_vgg_a,
    "imagenet-vgg-a-lrn": imagenet_vgg_a_lrn,
    "imagenet-vgg-b": imagenet_vgg_b,
    "imagenet-vgg-c": imagenet_vgg_c,
    "imagenet-vgg-d": imagenet_vgg_d,
    "imagenet-vgg-e": imagenet_vgg_e,
}
