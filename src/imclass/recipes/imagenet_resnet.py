"""Recipes for ResNet and ResNeXt on ImageNet, or with `--scale-down` on a folder of a few thousand photos.

ResNet: He et al., CVPR 2016, arXiv:1512.03385, section 3.4. The settings are batches of 256, momentum 0.9, weight decay
1e-4, a learning rate of 0.1 that is divided by 10 when the error stops falling, and up to 600,000 steps (120 epochs).
The shorter side is drawn for each image from 256 to 480. Crops have 224 pixels and are flipped at random, with the
colour shift of Krizhevsky et al. 2012. The mean image of the training set is subtracted. There is no dropout. The paper
does not give the patience of the plateau: here it is 8 epochs.

ResNeXt: Xie et al., CVPR 2017, arXiv:1611.05431, section 4. The settings are the same, but the rate is divided by 10
after 30, 60 and 90 of 100 epochs, and crops have a random area and aspect ratio, like GoogLeNet's. Those epochs,
Nesterov momentum, and the mean and standard deviation of the channels come from the released code. That code also
changes brightness, contrast, saturation and lighting, which the paper does not mention; add them with `--augment area
flip colour-jitter pca-colour`.
"""
# Tested in tests/recipes/test_imagenet.py

from imclass.core.config import Model, Stage, Training
from imclass.core.preprocess import Preprocess
from imclass.data.augment.area import Area
from imclass.data.augment.crop import Crop
from imclass.data.augment.flip import Flip
from imclass.data.augment.pca_colour import PcaColour
from imclass.recipes.imagenet import DATA, PHOTO_MEAN, PHOTO_RAW_STD, PHOTO_STD, VALIDATION_SHARE
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.plateau import Plateau
from imclass.training.schedules.step import StepDecay
from imclass.training.shrink import arrange

PREPROCESS = Preprocess(size=224, resize="shorter", scale=256)


def resnet(depth: int, data: str, length: float, scale_down: bool) -> Training:
    """Return the paper's training of the ResNet with `depth` layers."""
    stage = Stage(
        epochs=120,
        batch=256,
        optimiser=SGD(momentum=0.9, weight_decay=1e-4),
        schedule=Plateau(rate=0.1, factor=0.1, patience=8),
        augment=(Crop(shorter=(256.0, 480.0)), Flip(), PcaColour(deviation=0.1)),
    )
    model = Model(f"resnet-{depth}", mean=PHOTO_MEAN, std=PHOTO_RAW_STD, mean_image=True)
    name = f"imagenet-resnet-{depth}"
    training = Training(name, model, (stage,), PREPROCESS, data, validation=VALIDATION_SHARE, precision="auto")
    return arrange(training, length, scale_down)


def resnext(paths: str, data: str, length: float, scale_down: bool) -> Training:
    """Return the paper's training of a ResNeXt, such as "50-32x4d"."""
    stage = Stage(
        epochs=100,
        batch=256,
        optimiser=SGD(momentum=0.9, nesterov=True, weight_decay=1e-4),
        schedule=StepDecay(rate=0.1, factor=0.1, epochs=(30, 60, 90)),
        augment=(Area(area=(0.08, 1.0), aspect=(3 / 4, 4 / 3)), Flip()),
    )
    model = Model(f"resnext-{paths}", mean=PHOTO_MEAN, std=PHOTO_STD)
    training = Training(f"imagenet-resnext-{paths}", model, (stage,), PREPROCESS, data, precision="auto")
    return arrange(training, length, scale_down)


def imagenet_resnet_18(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train ResNet-18 as in the paper. Published top-1 error with 10 crops: 27.88%, with shortcuts of option A.

    `imclass train imagenet-resnet-18`. The shortcuts are projections (option B), as in the deeper networks. For
    shortcuts without parameters, add `--model.option A`.
    """
    return resnet(18, data, length, scale_down)


def imagenet_resnet_34(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train ResNet-34 as in the paper. Published errors with 10 crops: 24.52% and 7.46%.

    `imclass train imagenet-resnet-34`. Tables 2 and 3 also have option A: 25.03% and 7.76%. To use it, add
    `--model.option A`.
    """
    return resnet(34, data, length, scale_down)


def imagenet_resnet_50(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train ResNet-50 as in the paper. Published errors with 10 crops: 22.85% and 6.71%.

    `imclass train imagenet-resnet-50`. The first convolution of a block has the stride, as in the released models.
    """
    return resnet(50, data, length, scale_down)


def imagenet_resnet_101(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train ResNet-101 as in the paper. Published errors with 10 crops: 21.75% and 6.05%.

    `imclass train imagenet-resnet-101`.
    """
    return resnet(101, data, length, scale_down)


def imagenet_resnet_152(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train ResNet-152 as in the paper. Published errors with 10 crops: 21.43% and 5.71%.

    `imclass train imagenet-resnet-152`.
    """
    return resnet(152, data, length, scale_down)


def imagenet_resnext_50(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train ResNeXt-50 with 32 paths of width 4 as in the paper. Published top-1 error with one crop: 22.2%.

    `imclass train imagenet-resnext-50-32x4d`.
    """
    return resnext("50-32x4d", data, length, scale_down)


def imagenet_resnext_101(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train ResNeXt-101 with 32 paths of width 4 as in the paper. Published errors with one crop: 21.2% and 5.6%.

    `imclass train imagenet-resnext-101-32x4d`.
    """
    return resnext("101-32x4d", data, length, scale_down)


def imagenet_resnext_101_wide(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train ResNeXt-101 with 64 paths of width 4 as in the paper. Published errors with one crop: 20.4% and 5.3%.

    `imclass train imagenet-resnext-101-64x4d`.
    """
    return resnext("101-64x4d", data, length, scale_down)


RECIPES = {
    "imagenet-resnet-18": imagenet_resnet_18,
    "imagenet-resnet-34": imagenet_resnet_34,
    "imagenet-resnet-50": imagenet_resnet_50,
    "imagenet-resnet-101": imagenet_resnet_101,
    "imagenet-resnet-152": imagenet_resnet_152,
    "imagenet-resnext-50-32x4d": imagenet_resnext_50,
    "imagenet-resnext-101-32x4d": imagenet_resnext_101,
    "imagenet-resnext-101-64x4d": imagenet_resnext_101_wide,
}
