"""Recipes for CIFAR-10: from PaddlePaddle's book, from a paper, and our best for a single epoch."""

from imclass.core.config import Model, Stage, Training
from imclass.core.preprocess import Preprocess
from imclass.data.augment.flip import Flip
from imclass.data.augment.pad import Pad
from imclass.training.optimisers.adam import Adam
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.constant import Constant
from imclass.training.schedules.discrete_exponential import DiscreteExponential
from imclass.training.schedules.step import StepDecay
from imclass.training.schedules.triangular import Triangular

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the 50,000 training images, with pixels in [0, 1]
CIFAR_PREPROCESS = Preprocess(size=32, colour="rgb", resize="squash")
IMAGES, RESNET_STEPS, RESNET_BATCH = 50_000, 64_000, 128  # the training images, and He et al.'s schedule
RAW_STD = (1 / 255, 1 / 255, 1 / 255)  # dividing by this restores the range 0 to 255 that the papers use


def cifar10_vgg(epochs: int = 300) -> Training:
    """Train VGG with batch norm and dropout as in PaddlePaddle's book of 2016. Published test error: 8.54%.

    `imclass train cifar10-vgg`. The settings are momentum 0.9, a learning rate of 0.1 divided by 10 every 5,000,000
    images (100 epochs), weight decay 5e-4, pixels from 0 to 255 minus the mean image, and horizontal flips. The book
    writes 0.1 / 128 and 0.0005 * 128, because its loss is summed over the batch instead of averaged.
    """
    schedule = DiscreteExponential(rate=0.1, factor=0.1, every=5_000_000)
    stage = Stage(
        epochs=epochs,
        batch=128,
        optimiser=SGD(momentum=0.9, weight_decay=5e-4),
        schedule=schedule,
        augment=(Flip(),),
    )
    model = Model("vgg-bn-drop", mean=MEAN, std=RAW_STD, mean_image=True)
    return Training("cifar10-vgg", model, (stage,), CIFAR_PREPROCESS, "cifar10", precision="auto")


def cifar10_resnet(depth: int = 32, validation: float = 0.0, epochs: int | None = None) -> Training:
    """Train the ResNet of He et al. 2015, section 4.2. Published test errors: 8.75% at depth 20, 7.51% at 32.

    `imclass train cifar10-resnet`, or `imclass train cifar10-resnet --depth 56`. The settings are shortcuts without
    parameters, 64,000 steps of 128 images, a learning rate of 0.1 divided by 10 at steps 32,000 and 48,000, weight
    decay 1e-4, momentum 0.9, 4 pixels of padding, horizontal flips, and subtraction of the mean image. At depth 110,
    the rate is 0.01 until the training error of an epoch is below 80%. Our test error at depth 20 is 8.48% (one run,
    seed 0, bf16; docs/book.md shows its curve).

    The recipe trains on all 50,000 images. The paper chose its schedule with 45,000 training images and 5,000 for
    validation, which `--validation 0.1` repeats: 500 images of each class are held out, and the 64,000 steps take 182
    epochs instead of 164.
    """
    train = max(1, IMAGES - round(validation * IMAGES))
    warm_rate = 0.01 if depth == 110 else 0.0
    stage = Stage(
        epochs=epochs or -(-RESNET_STEPS // -(-train // RESNET_BATCH)),  # both quotients are rounded up
        batch=RESNET_BATCH,
        optimiser=SGD(momentum=0.9, weight_decay=1e-4),
        schedule=StepDecay(rate=0.1, factor=0.1, steps=(32_000, 48_000), warm_rate=warm_rate, warm_error=0.8),
        augment=(Pad(pixels=4), Flip()),
    )
    model = Model(f"resnet-cifar-{depth}", mean=MEAN, std=RAW_STD, mean_image=True)
    return Training(
        "cifar10-resnet", model, (stage,), CIFAR_PREPROCESS, "cifar10", validation=validation, precision="auto"
    )


def cifar10_resnet_adam(epochs: int = 1) -> Training:
    """Train the ResNet from the quick start in PaddlePaddle's book. Published test accuracy: 60% after one epoch.

    `imclass train cifar10-resnet-adam`. The settings are as published: 32 layers with projection shortcuts and with
    biases in the second convolution of each block (467,466 parameters), Adam with rate 1e-3, batches of 128, pixels in
    [0, 1], and no augmentation. Our test accuracy is 54.9% in float32 (mean of seeds 0 to 4; standard deviation 2.8).
    Without these biases, it was 53.6% in bf16 (seeds 0 to 2; 2.8) in 82 to 89 s of training on 2 cores of an AMD EPYC
    (Zen 5). docs/book.md lists the reasons for the gap that benchmarks/adam_gap.py tried.
    """
    stage = Stage(epochs=epochs, batch=128, optimiser=Adam(), schedule=Constant(rate=1e-3))
    model = Model("resnet-cifar-32-b", {"bias": True})
    return Training("cifar10-resnet-adam", model, (stage,), CIFAR_PREPROCESS, "cifar10", precision="auto")


def cifar10_resnet_quick(epochs: int = 1) -> Training:
    """Train the network from the book's quick start for one epoch, with flips and a learning rate that rises and falls.

    `imclass train cifar10-resnet-quick`. Its convolutions have no biases. Our test accuracy is 67.75% (mean of seeds 0,
    1, 2; standard deviation 0.40) in 92 to 95 s of training on 2 cores of an AMD EPYC (Zen 5) in bf16. No setting was
    tuned on CIFAR-10.
    """
    schedule = Triangular(rate=0.1, peak=0.25)
    stage = Stage(
        epochs=epochs,
        batch=64,
        optimiser=SGD(nesterov=True, weight_decay=5e-4),
        schedule=schedule,
        augment=(Flip(),),
    )
    model = Model("resnet-cifar-32-b", mean=MEAN, std=STD)
    return Training("cifar10-resnet-quick", model, (stage,), CIFAR_PREPROCESS, "cifar10", precision="auto")


RECIPES = {
    "cifar10-vgg": cifar10_vgg,
    "cifar10-resnet": cifar10_resnet,
    "cifar10-resnet-adam": cifar10_resnet_adam,
    "cifar10-resnet-quick": cifar10_resnet_quick,
}
