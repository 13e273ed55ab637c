"""The plan of a run: its stages resolved to legs, each with its network, images and preprocessing."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt64
from torch import Tensor

from imclass.core.config import Execution, Model, Stage, Training
from imclass.core.contracts import Dataset, Evaluation, Watch
from imclass.core.errors import UserError
from imclass.core.model_file import Provenance
from imclass.core.preprocess import Preprocess
from imclass.data.loader import Batch, Loader, Part
from imclass.data.subset import VALIDATION
from imclass.models.beginning import begin
from imclass.models.classifier import NetworkClassifier, create, resolve_model, sketch
from imclass.models.layers.heads import linear_layer
from imclass.models.rates import layer_rates
from imclass.store.context import Context
from imclass.training.norms import has_batch_norm

# A stage's options.
STAGE_OPTIONS = re.compile(r"--(?=(?:batch|begin|model|patience|preprocess|rates|schedule|solver)\b)")
SplitScorer: TypeAlias = Callable[[NetworkClassifier, str, Watch], Evaluation]  # scores a split


@dataclass(frozen=True, eq=False, kw_only=True)
class Leg:
    """A resolved stage of a run: the network that it trains, its training images, and the splits that are scored."""

    number: int  # from 0
    name: str
    stage: Stage
    model: Model  # with every field of its row
    preprocess: Preprocess
    loader: Loader
    held_out: tuple[str, ...]  # the splits that are scored
    score: SplitScorer
    context: Context
    seed: int  # of its random weights
    last_epoch: int  # the number of the run's epochs up to the end of the leg, unless an earlier leg ends early
    skip_nonfinite: bool = False  # skip a step that is not finite, instead of stopping the run
    pairs: bool = False  # a part needs at least two images, because batch norm takes its statistics from them
    trained: Provenance  # of the leg's model, without scores
    mean: Float[Tensor, "C H W"] | None = None  # of the training images, if the network subtracts their mean image
    contents: UInt64[np.ndarray, "_"] | None = None  # hashes of all images that the weights were trained on
    premade: NetworkClassifier | None = None  # made in advance, for `make` to return

    def make(self) -> NetworkClassifier:
        """Return the leg's classifier with random weights, and with its mean image if it subtracts one."""
        if self.premade is not None:
            return self.premade
        data = self.loader.dataset
        classifier = create(self.model, data.classes, self.preprocess, self.seed, self.context, data.targets.link)
        if self.mean is not None:
            classifier.network.normalise(self.mean, self.model.std)
        return classifier

    def with_mean(self, mean: Float[Tensor, "C H W"]) -> "Leg":
        """Return a copy of the leg that subtracts this mean image and pads with its mean colour."""
        return replace(self, mean=mean, loader=self.loader.with_fill(colour_of(mean.mean((1, 2)).tolist())))

    @property
    def batches(self) -> int:
        """Return the number of steps of an epoch."""
        return 1 if self.stage.kind == "solve" else len(self.loader)

    @property
    def steps(self) -> int:
        """Return the number of steps of the leg."""
        return self.batches * self.stage.epochs

    @property
    def watched_splits(self) -> tuple[str, ...]:
        """Return the splits that are scored after each epoch: validation, to choose the weights, or without it all."""
        return (VALIDATION,) if VALIDATION in self.held_out else self.held_out

    @property
    def counted(self) -> str:
        """Return the name of the measure for the fraction of correct images: top1, or exact for several labels."""
        return self.loader.dataset.targets.counted

    def names(self, parts: Iterable[Part]) -> tuple[str, ...]:
        """Return the names of the images in the parts."""
        return tuple(self.loader.dataset.name(i) for part in parts for i in part.positions.tolist())

    def learnable_parts(self, batch: Batch) -> tuple[dict[int, Part], tuple[str, ...]]:
        """Return the parts of a batch with enough images to learn from, and the names of images in the others.

        If images were refused, a part may have only one image left, which batch norm cannot normalise, or none.
        """
        min_images = 2 if self.pairs else 1
        kept = {n: part for n, part in batch.parts.items() if len(part.targets) >= min_images}
        return kept, self.names(part for n, part in batch.parts.items() if n not in kept)


@dataclass(frozen=True)
class Splits:
    """The training images of a run, and the names of the splits that are scored."""

    train: Dataset
    held_out: tuple[str, ...]
    contents: UInt64[np.ndarray, "_"] | None = None  # hashes of all images that the final weights were trained on


def resolve_models(config: Training, context: Context) -> Training:
    """Return a config in which each network's row has all of its fields."""
    stages = tuple(replace(s, model=resolve_model(s.model, context) if s.model else None) for s in config.stages)
    return replace(config, model=resolve_model(config.model, context), stages=stages)


def plan(
    config: Training, splits: Splits, trained: Provenance, execution: Execution, context: Context, score: SplitScorer
) -> tuple[Leg, ...]:
    """Return the legs of a run. Raise `UserError` if anything in them does not fit together.

    A stage without a network or preprocess uses that of the previous stage.
    """
    legs: list[Leg] = []
    before: NetworkClassifier | None = None
    model, preprocess = config.model, config.preprocess
    for number, stage in enumerate(config.stages):
        model, preprocess = stage.model or model, stage.preprocess or preprocess
        with in_stage(number, stage.name or model.network):
            outline = sketch(model, splits.train.classes, preprocess, context)
            if before is not None:
                begin(outline, before, stage.begin)  # outlines have no weights, so this only checks that they fit
            layer_rates(outline.network, stage.rates)
            pairs = has_batch_norm(outline.network)
            if stage.kind == "solve":
                linear_layer(outline.network.head, model.network)
            else:
                check_batch(stage, model.network, pairs)
        leg = Leg(
            number=number,
            name=stage.name or model.network,
            stage=stage,
            model=model,
            preprocess=preprocess,
            loader=loader_of(config, stage, model, preprocess, pairs, splits.train, execution),
            held_out=splits.held_out,
            score=score,
            context=context,
            seed=config.seed,
            contents=splits.contents,
            last_epoch=sum(stage.epochs for stage in config.stages[: number + 1]),
            skip_nonfinite=config.nonfinite == "skip",
            pairs=pairs,
            trained=trained,
        )
        legs.append(leg)
        before = outline
    return tuple(legs)


@contextlib.contextmanager
def in_stage(number: int, name: str) -> Iterator[None]:
    """Add the stage to a `UserError` raised in the block and to the options in it, unless it is the first stage."""
    try:
        yield
    except UserError as error:
        if number == 0:
            raise
        raise UserError(f"stage {name}: {STAGE_OPTIONS.sub(f'--stages.{number}.', str(error))}") from None


def check_batch(stage: Stage, network: str, pairs: bool) -> None:
    """Raise `UserError` for a batch of one image if the network has batch norm."""
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
    """Return the loader of a stage's training images, which are padded with the rounded mean colour."""
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
    )


def colour_of(mean: Sequence[float]) -> UInt8[Tensor, "C"]:
    """Return channel means in [0, 1] as the colour of a pixel, rounded."""
    return torch.tensor([round(255 * value) for value in mean], dtype=torch.uint8)
