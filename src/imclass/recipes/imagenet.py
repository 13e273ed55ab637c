"""Recipes for AlexNet, GoogLeNet and a modern ResNet-50 on ImageNet, or with `--scale-down` on a few thousand photos.

ILSVRC 2012 has 1,281,167 training images. Its 50,000 validation images are the split `test` here, because papers report
their errors on them. Where a paper lowers the rate when the validation accuracy stops rising, 4% of the training images
(about 50,000) are held out for that.
"""

from imclass.core.config import CrossEntropy, Model, Stage, Training
from imclass.core.preprocess import Preprocess
from imclass.data.augment.area import Area
from imclass.data.augment.crop import Crop
from imclass.data.augment.flip import Flip
from imclass.data.augment.mixup import Mixup
from imclass.data.augment.pca_colour import PcaColour
from imclass.data.augment.trivial import Trivial
from imclass.training.averages.polyak import Polyak
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.cosine import Cosine
from imclass.training.schedules.exponential import Exponential
from imclass.training.schedules.plateau import Plateau
from imclass.training.shrink import arrange

DATA = "ilsvrc-2012"
PHOTO_MEAN = (0.485, 0.456, 0.406)  # of ImageNet's photos, with pixels in [0, 1]
PHOTO_STD = (0.229, 0.224, 0.225)
PHOTO_RAW_STD = (1 / 255, 1 / 255, 1 / 255)  # dividing by this restores the range 0 to 255 that the papers use
VALIDATION_SHARE = 0.04


def imagenet_alexnet(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train the network of Krizhevsky et al., NIPS 2012, section 5. Published errors with 10 crops: 40.7% and 18.2%.

    `imclass train imagenet-alexnet`. The settings are batches of 128, momentum 0.9, weight decay 5e-4, a learning rate
    of 0.01 that is divided by 10 when the validation error stops falling, three times in all, and 90 epochs. Images are
    rescaled to a shorter side of 256 and cut to the central square. Random crops of 224 pixels are cut from this
    square and flipped horizontally at random: 32 x 32 positions, or 2,048 variants with flips. The mean image of the
    training set is subtracted, and colours are shifted along the principal components of the training pixels (section
    4.1).

    The first convolution pads its images of 224 pixels by 2, because the paper's 55 x 55 maps need 227. The paper does
    not give the patience of the plateau: here it is 8 epochs.
    """
    stage = Stage(
        epochs=90,
        batch=128,
        optimiser=SGD(momentum=0.9, weight_decay=5e-4),
        schedule=Plateau(rate=0.01, factor=0.1, patience=8, falls=3),
        augment=(Crop(shorter=(256.0, 256.0), square=True), Flip(), PcaColour(deviation=0.1)),
    )
    model = Model("alexnet-2012", {"size": 224, "padding": 2}, mean=PHOTO_MEAN, std=PHOTO_RAW_STD, mean_image=True)
    preprocess = Preprocess(size=224, resize="shorter", scale=256)
    training = Training(
        "imagenet-alexnet", model, (stage,), preprocess, data, validation=VALIDATION_SHARE, precision="auto"
    )
    return arrange(training, length, scale_down)


def imagenet_googlenet(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train the network of Szegedy et al., CVPR 2015, section 6. Published top-5 error with one crop: 10.07%.

    `imclass train imagenet-googlenet`. The paper states momentum 0.9, a learning rate that falls by 4% every 8
    epochs, auxiliary losses with weight 0.3, crops with 8 to 100% of the area and an aspect ratio between 3/4 and 4/3,
    and the use of the mean of the weights after many steps (Polyak averaging).

    The paper does not state the batch size, initial rate, weight decay or number of epochs. They are those of BVLC's
    solver for the same schedule: 32, 0.01, 2e-4 and 250. Nor does it state over which steps the weights were averaged:
    here these are the last fifth. The paper also found changes of brightness, contrast and colour useful "to some
    extent", but not for the final result; BVLC used none, and nor does this recipe.
    """
    stage = Stage(
        epochs=250,
        batch=32,
        optimiser=SGD(momentum=0.9, weight_decay=2e-4),
        schedule=Exponential(rate=0.01, factor=0.96, every=8),
        augment=(Area(area=(0.08, 1.0), aspect=(3 / 4, 4 / 3)), Flip()),
        average=Polyak(start=0.8),
    )
    model = Model("googlenet", mean=PHOTO_MEAN, std=PHOTO_RAW_STD, mean_colour=True)
    preprocess = Preprocess(size=224, resize="shorter", scale=256)
    training = Training("imagenet-googlenet", model, (stage,), preprocess, data, precision="auto")
    return arrange(training, length, scale_down)


def imagenet_resnet_50_budget(data: str = DATA, length: float = 1.0, scale_down: bool = False) -> Training:
    """Train ResNet-50 at 160 pixels for 100 epochs with current methods. Not run on ImageNet yet: no result is known.

    `imclass train imagenet-resnet-50-budget`. The image size and the number of epochs are those of the cheapest of the
    three procedures of Wightman et al., arXiv:2110.00476, Table 2. Its optimiser and loss are not used here. The rest
    follows He et al., arXiv:1812.01187, sections 3.1 and 5: SGD with batches of 1,024, a rate that rises to 0.4 over
    5 epochs and then falls along a cosine, weight decay 1e-4, label smoothing 0.1 and mixup with alpha = 0.2.
    TrivialAugment (Müller and Hutter, ICCV 2021) changes one property of each crop. The weights are averaged over the
    last tenth of the steps.
    """
    stage = Stage(
        epochs=100,
        batch=1024,
        optimiser=SGD(momentum=0.9, nesterov=True, weight_decay=1e-4),
        schedule=Cosine(rate=0.4, warmup=6_255, warmup_share=0.05),
        objective=CrossEntropy(smoothing=0.1),
        augment=(Area(area=(0.08, 1.0), aspect=(3 / 4, 4 / 3)), Flip(), Trivial(), Mixup(alpha=0.2)),
        average=Polyak(start=0.9),
    )
    model = Model("resnet-50-v1.5", {"size": 160}, mean=PHOTO_MEAN, std=PHOTO_STD)
    preprocess = Preprocess(size=160, resize="shorter", scale=183)
    training = Training("imagenet-resnet-50-budget", model, (stage,), preprocess, data, precision="auto")
    return arrange(training, length, scale_down)


RECIPES = {
    "imagenet-alexnet": imagenet_alexnet,
    "imagenet-googlenet": imagenet_googlenet,
    "imagenet-resnet-50-budget": imagenet_resnet_50_budget,
}
