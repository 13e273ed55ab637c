"""The plan of a run: a leg for each stage, with the network, images and preprocessing that the stage uses."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64, UInt8, UInt64
from torch import Tensor

from imclass.core.config import Execution, Model, Stage, Training
from imclass.core.contracts import Dataset, Evaluation, Refused, Watch
from imclass.core.errors import UserError
from imclass.core.model_file import Provenance
from imclass.core.preprocess import Preprocess
from imclass.data.balance import class_weights
from imclass.data.loader import Batch, Loader, Part
from imclass.data.subset import VALIDATION
from imclass.models.beginning import begin
from imclass.models.classifier import NetworkClassifier, create, resolve_model, sketch
from imclass.models.layers.heads import linear_layer
from imclass.models.rates import layer_rates
from imclass.store.context import Context
from imclass.training.norms import has_batch_norm

# Options that belong to a stage. `in_stage` adds the stage's number to them.
STAGE_OPTIONS = re.compile(r"--(?=(?:augment|batch|begin|model|patience|preprocess|rates|schedule|solver)\b)")


@dataclass(frozen=True, eq=False)
class SplitFeatures:
    """The input of a network's last layer for the images of a split that are not refused."""

    kept: Int64[np.ndarray, "n"]  # the positions of these images in the split
    features: Float32[np.ndarray, "n D"]
    refused: tuple[Refused, ...]


Embed: TypeAlias = Callable[[Dataset, Watch], SplitFeatures]
# Scores a split. If there is an `Embed`, the network's last layer is applied to the features that it returns.
SplitScorer: TypeAlias = Callable[[NetworkClassifier, str, Embed | None, Watch], Evaluation]


@dataclass(frozen=True, eq=False, kw_only=True)
class Leg:
    """A resolved stage of a run: the network to train, the images to train it on, and the splits to score."""

    number: int  # from 0
    name: str
    stage: Stage
    model: Model  # with every field of its row
    preprocess: Preprocess
    loader: Loader
    held_out: tuple[str, ...]  # the splits to score
    score: SplitScorer
    context: Context
    seed: int  # of the random weights
    class_weights: Float64[np.ndarray, "K"] | None = None  # factors for the loss of each class's images; None: all 1
    last_epoch: int  # the run's number of epochs up to the end of the leg, if no earlier leg ends early
    previous: str = ""  # the name of the previous leg; empty: there is none
    skip_nonfinite: bool = False  # skip a step that is not finite, instead of stopping the run
    pairs: bool = False  # a part needs at least two images, because batch norm computes its statistics over a part
    trained: Provenance  # of the leg's model, without scores
    mean: Float[Tensor, "C H W"] | None = None  # of the training images, if the network subtracts a mean image
    contents: UInt64[np.ndarray, "_"] | None = None  # hashes of all images that the weights were trained on
    premade: NetworkClassifier | None = None  # made in advance, for `make` to return

    def make(self) -> NetworkClassifier:
        """Return the leg's classifier with random weights and, if it subtracts a mean image, with that image."""
        if self.premade is not None:
            return self.premade
        data = self.loader.dataset
        classifier = create(self.model, data.classes, self.preprocess, self.seed, self.context, data.targets.link)
        if self.mean is not None:
            classifier.network.normalise(self.mean, self.model.std)
        return classifier

    def with_mean(self, mean: Float[Tensor, "C H W"]) -> "Leg":
        """Return a copy of the leg that subtracts the mean image `mean` and pads with that image's mean colour."""
        return replace(self, mean=mean, loader=self.loader.with_fill(colour_of(mean.mean((1, 2)).tolist())))

    def with_measured(self, measured: Mapping[str, Float32[np.ndarray, "C C"]]) -> "Leg":
        """Return a copy of the leg whose augmentations use matrices measured from the training images, keyed by kind.

        The model of the leg records them.
        """
        record = {kind: tuple(map(tuple, matrix.tolist())) for kind, matrix in measured.items()}
        trained = replace(self.trained, measured=record)
        return replace(self, trained=trained, loader=self.loader.with_measured(measured))

    @property
    def folder(self) -> str:
        """Return the name of the leg's folder in a run of several legs."""
        return f"{self.number + 1:02d}-{self.name}"

    @property
    def batches(self) -> int:
        """Return the number of steps in an epoch."""
        return 1 if self.stage.kind == "solve" else len(self.loader)

    @property
    def steps(self) -> int:
        """Return the number of steps in the leg."""
        return self.batches * self.stage.epochs

    @property
    def measures_norms(self) -> bool:
        """Return whether a pass over the training images measures batch norms before averaged weights are scored."""
        return self.pairs and self.stage.average is not None and self.stage.average.remeasures

    @property
    def watched_splits(self) -> tuple[str, ...]:
        """Return the splits to score after each epoch.

        This is the validation split, whose scores decide which weights are kept. If there is no validation split, all
        held-out splits are scored.
        """
        return (VALIDATION,) if VALIDATION in self.held_out else self.held_out

    @property
    def counted(self) -> str:
        """Return the name of the measure for the fraction of correct images.

        This is "top1", or "exact" if an image may have any number of labels.
        """
        return self.loader.dataset.targets.counted

    def describe_epoch(self, epoch: int) -> str:
        """Describe in words the moment after an epoch of this leg. Epoch 0 is the start of the leg."""
        if epoch:
            return f"after epoch {epoch}" + (f" of stage {self.name}" if self.number else "")
        return f"at the start of stage {self.name}" + (f", after stage {self.previous}" if self.previous else "")

    def names(self, parts: Iterable[Part]) -> tuple[str, ...]:
        """Return the names of the images in the parts."""
        return tuple(self.loader.dataset.name(i) for part in parts for i in part.positions.tolist())

    def learnable_parts(self, batch: Batch) -> tuple[dict[int, Part], tuple[str, ...]]:
        """Return the parts of a batch that are large enough to learn from, and the names of the images in other parts.

        If images were refused, a part may have no image left, or only one, which batch norm cannot normalise.
        """
        min_images = 2 if self.pairs else 1
        kept = {n: part for n, part in batch.parts.items() if len(part.targets) >= min_images}
        return kept, self.names(part for n, part in batch.parts.items() if n not in kept)


@dataclass(frozen=True)
class Splits:
    """The training images of a run, and the names of the splits to score."""

    train: Dataset
    held_out: tuple[str, ...]
    contents: UInt64[np.ndarray, "_"] | None = None  # hashes of all images that the final weights were trained on


def resolve_models(config: Training, context: Context) -> Training:
    """Return the config with each model's row completed from the entry of the model's network."""
    stages = tuple(replace(s, model=resolve_model(s.model, context) if s.model else None) for s in config.stages)
    return replace(config, model=resolve_model(config.model, context), stages=stages)


def plan(
    config: Training, splits: Splits, trained: Provenance, execution: Execution, context: Context, score: SplitScorer
) -> tuple[Leg, ...]:
    """Return the legs of a run. Raise `UserError` if the options of the stages do not fit together.

    A stage without a `model` or `preprocess` field uses that of the previous stage.
    """
    legs: list[Leg] = []
    before: NetworkClassifier | None = None
    model, preprocess = config.model, config.preprocess
    for number, stage in enumerate(config.stages):
        model, preprocess = stage.model or model, stage.preprocess or preprocess
        with in_stage(number, stage.name or model.network):
            outline = sketch(model, splits.train.classes, preprocess, context)
            if before is not None:
                begin(outline, before, stage.begin)  # outlines have no weights, so this only checks that the two fit
            layer_rates(outline.network, stage.rates)
            pairs = has_batch_norm(outline.network)
            if stage.kind == "solve":
                linear_layer(outline.network.head, model.network)
            else:
                check_batch(stage, model.network, pairs)
            loader = loader_of(config, stage, model, preprocess, pairs, splits.train, execution)
        leg = Leg(
            number=number,
            name=stage.name or model.network,
            stage=stage,
            model=model,
            preprocess=preprocess,
            loader=loader,
            held_out=splits.held_out,
            score=score,
            context=context,
            seed=config.seed,
            class_weights=weights_of(config, stage, splits.train),
            contents=splits.contents,
            previous=legs[-1].name if legs else "",
            last_epoch=sum(stage.epochs for stage in config.stages[: number + 1]),
            skip_nonfinite=config.nonfinite == "skip",
            pairs=pairs,
            trained=replace(trained, scales=train_scales(stage)),
        )
        legs.append(leg)
        before = outline
    return tuple(legs)


def train_scales(stage: Stage) -> tuple[int, ...]:
    """Return S, the shorter side of the images from which a stage cuts crops, or the ends of the range of S.

    Return an empty tuple if no augmentation rescales images to a shorter side.
    """
    return next((rule.scales for rule in reversed(stage.augment) if rule.scales), ())


@contextlib.contextmanager
def in_stage(number: int, name: str) -> Iterator[None]:
    """Add the stage's name to the message of a `UserError`, and its number to the options in the message.

    Errors in the first stage are left unchanged.
    """
    try:
        yield
    except UserError as error:
        if number == 0:
            raise
        raise UserError(f"stage {name}: {STAGE_OPTIONS.sub(f'--stages.{number}.', str(error))}") from None


def check_batch(stage: Stage, network: str, pairs: bool) -> None:
    """Raise `UserError` if the batch size is 1 and the network has batch norm."""
    if pairs and stage.batch < 2:
        raise UserError(
            f"--batch {stage.batch} is too small: {network} uses batch norm, which needs at least two images"
        )


def loader_of(
    config: Training,
    stage: Stage,
    model: Model,
    preprocess: Preprocess,
    pairs: bool,
    train: Dataset,
    execution: Execution,
) -> Loader:
    """Return the loader of a stage's training images. Images are padded with the rounded mean colour.

    Raise `UserError` if an augmentation cannot create views of the network's input size.
    """
    for rule in stage.augment:
        rule.check_size(preprocess.size, f"augment.{rule.kind}.")
    mean = model.mean * (preprocess.w_in if len(model.mean) == 1 else 1)
    return Loader(
        dataset=train,
        preprocess=preprocess,
        augment=stage.augment,
        fill=colour_of(mean),
        batch=stage.batch,
        seed=config.seed,
        parts=stage.micro_batches,
        pairs=pairs,
        workers=execution.workers,
        memory_mib=execution.memory,
        balanced=config.balance == "sampler",
    )


def weights_of(config: Training, stage: Stage, train: Dataset) -> Float64[np.ndarray, "K"] | None:
    """Return the factors for the loss of each class's images in a stage, or None if all are 1.

    A solver uses each image once. With the balance "sampler", it therefore weights the classes instead.
    """
    balanced = config.balance == "weights" or (config.balance == "sampler" and stage.kind == "solve")
    return class_weights(train.targets.counts(len(train.classes)), train.classes, balanced, config.costs)


def colour_of(mean: Sequence[float]) -> UInt8[Tensor, "C"]:
    """Return the colour, rounded to integers from 0 to 255, for channel means in [0, 1]."""
    return torch.tensor([round(255 * value) for value in mean], dtype=torch.uint8)
