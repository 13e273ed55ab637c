"""The rule by which a recipe for ImageNet is scaled down to a folder with a few thousand photos.

All values of one kind are multiplied by the same factor, so that the ratios of the paper are kept:
- Lengths in pixels (the network's input, and the scales S and Q) by 1/4. So 224, 256, 384 and [256; 512] become 56, 64,
  96 and [64; 128]. AlexNet and GoogLeNet cannot be built for such small images, and their factor is 3/8.
- Widths, hidden units, the cardinality of ResNeXt, and the images in a step by 1/4.
- Epochs, and all settings that count epochs, by 1/3.

Rates, momentum, weight decay and dropout are not changed. The fraction of the images that is held out for validation,
if any, rises to a tenth, because a small data set needs a larger one. Initial weights are those of He et al., and
pixels are divided by their standard deviation, as these weights expect. The initial weights of AlexNet and VGG, with a
standard deviation of 0.01, suit wide layers. In narrow layers, the signal would vanish.
"""

from dataclasses import replace
from typing import Any

from imclass.core.config import Model, Stage, Training, multiply_count
from imclass.core.errors import UserError, require
from imclass.core.preprocess import Preprocess

WIDTH, BATCH, EPOCHS = 1 / 4, 1 / 4, 1 / 3  # factors
EIGHTHS = range(2, 9)  # candidates for the factor of lengths, in eighths; the first one at which the network works
HELD_OUT_SHARE = 0.1
MAX_LENGTH = 1_000
PIXEL_STD = (0.229, 0.224, 0.225)  # of ImageNet's photos, with pixels in [0, 1]
WIDTH_FIELDS = ("widths", "hidden", "stem", "groups")  # of the rows of networks


def arrange(training: Training, length: float, scale_down: bool) -> Training:
    """Return a recipe's config with `length` times as many epochs, scaled down if `scale_down` is true."""
    return stretch(shrink(training) if scale_down else training, length)


def stretch(training: Training, ratio: float) -> Training:
    """Return a config with `ratio` times as many epochs. Settings that count epochs are multiplied, too."""
    wanted = f"above 0 and at most {MAX_LENGTH:,}, such as 0.25 for a quarter of the epochs"
    require(0 < ratio <= MAX_LENGTH, "length", ratio, wanted)
    stages = [
        replace(s, epochs=multiply_count(s.epochs, ratio), schedule=s.schedule and s.schedule.stretch(ratio))
        for s in training.stages
    ]
    return replace(training, stages=tuple(stages))


def shrink(training: Training) -> Training:
    """Return a config for ImageNet, scaled down by the rule of this module."""
    length = length_factor(training.model, training.preprocess)
    small = replace(
        training,
        model=shrink_model(training.model, length),
        preprocess=shrink_preprocess(training.preprocess, length),
        stages=tuple(shrink_stage(stage, length) for stage in training.stages),
        validation=HELD_OUT_SHARE if training.validation else 0.0,
    )
    return stretch(small, EPOCHS)


def length_factor(model: Model, preprocess: Preprocess) -> float:
    """Return the smallest factor for lengths, from 1/4 upwards in steps of 1/8, at which the network can be built."""
    from imclass.models.classifier import sketch  # here, because it imports torch, which help for recipes does not need

    for eighths in EIGHTHS:
        factor = eighths / 8
        try:
            sketch(shrink_model(model, factor), ("a", "b"), shrink_preprocess(preprocess, factor))
        except UserError:
            continue
        return factor
    raise UserError(f"{model.network} cannot be scaled down; leave out --scale-down")


def shrink_model(model: Model, length: float) -> Model:
    """Return the model for smaller images, with narrower layers and initial weights that suit them."""
    from imclass.models.classifier import resolve_model

    row = resolve_model(model).row
    changed: dict[str, Any] = {"size": multiply_count(row["size"], length)}
    changed |= {name: narrow(row[name]) for name in WIDTH_FIELDS if name in row}
    changed |= {"width": row["width"] * WIDTH} if "width" in row else {}  # a multiplier for all widths
    return replace(model, row=model.row | changed, std=PIXEL_STD, initialiser="he")


def narrow(value: Any) -> Any:
    """Return a width, or a tuple of widths, multiplied by the factor. Numbers below 4 are not changed."""
    if isinstance(value, int):
        return multiply_count(value, WIDTH) if value >= 1 / WIDTH else value
    return tuple(map(narrow, value))


def shrink_preprocess(preprocess: Preprocess, length: float) -> Preprocess:
    """Return the preprocessing with its size and scale multiplied by `length`."""
    size, scale = (multiply_count(side, length) for side in (preprocess.size, preprocess.scale))
    return replace(preprocess, size=size, scale=scale)


def shrink_stage(stage: Stage, length: float) -> Stage:
    """Return a stage with smaller steps, images and layers."""
    return replace(
        stage,
        model=stage.model and shrink_model(stage.model, length),
        preprocess=stage.preprocess and shrink_preprocess(stage.preprocess, length),
        batch=multiply_count(stage.batch, BATCH),
        augment=tuple(rule.with_lengths(length) for rule in stage.augment),
    )
