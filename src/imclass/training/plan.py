"""Stages as legs: each with its network, its images, and where its weights begin."""

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
from imclass.models.rates import layer_rates
from imclass.store.context import Context
from imclass.training.norms import has_batch_norm

STAGE_OPTIONS = re.compile(r"--(?=(?:batch|begin|model|patience|preprocess|rates|schedule)\b)")  # options of one stage
SplitScorer: TypeAlias = Callable[[NetworkClassifier, str, Watch], Evaluation]  # of a split


@dataclass(frozen=True, eq=False, kw_only=True)
class Leg:
    """A stage of a run, resolved: the network it trains, the images it learns from, and the splits it is judged by."""

    number: int  # from 0
    name: str
    stage: Stage
    model: Model  # with its whole row
    preprocess: Preprocess
    loader: Loader
    held_out: tuple[str, ...]  # the splits that are scored
    score: SplitScorer
    context: Context
    seed: int  # of the weights that are drawn
    last_epoch: int  # finished epochs of the run when it ends, counted as if no earlier leg ended early
    skips: bool = False  # whether a step that is not finite is skipped; otherwise it stops the run
    pairs: bool = False  # whether a part needs two images, because batch norm takes its statistics from them
    trained: Provenance  # of its model, without the scores
    mean: Float[Tensor, "C H W"] | None = None  # of the training images, where the network subtracts that
    contents: UInt64[np.ndarray, "_"] | None = None  # of all images that the weights were trained on
    drawn: NetworkClassifier | None = None  # made in advance, for `make` to return

    def make(self) -> NetworkClassifier:
        """Return the leg's classifier with random weights, and with its mean image if it subtracts one."""
        if self.drawn is not None:
            return self.drawn
        data = self.loader.dataset
        classifier = create(self.model, data.classes, self.preprocess, self.seed, self.context, data.targets.link)
        if self.mean is not None:
            classifier.network.normalise(self.mean, self.model.std)
        return classifier

    def with_mean(self, mean: Float[Tensor, "C H W"]) -> "Leg":
        """Return a leg that subtracts this mean, and pads with its colour."""
        return replace(self, mean=mean, loader=self.loader.with_fill(colour_of(mean.mean((1, 2)).tolist())))

    @property
    def steps(self) -> int:
        """Steps of the whole leg."""
        return len(self.loader) * self.stage.epochs

    @property
    def watched_splits(self) -> tuple[str, ...]:
        """The splits scored after each epoch: validation alone if there is one, as it chooses the weights; else all."""
        return (VALIDATION,) if VALIDATION in self.held_out else self.held_out

    @property
    def counted(self) -> str:
        """The measure that is the share of the images that a step counts as correct."""
        return self.loader.dataset.targets.counted

    def names(self, parts: Iterable[Part]) -> tuple[str, ...]:
        """Return the names of the images in parts."""
        return tuple(self.loader.dataset.name(i) for part in parts for i in part.positions.tolist())

    def learnable_parts(self, batch: Batch) -> tuple[dict[int, Part], tuple[str, ...]]:
        """Return the parts of a batch that can be learned from, and the names of images left out because of batch norm.

        A part may have shrunk to one image, which batch norm cannot normalise, or to none.
        """
        least = 2 if self.pairs else 1
        kept = {n: part for n, part in batch.parts.items() if len(part.targets) >= least}
        return kept, self.names(part for n, part in batch.parts.items() if n not in kept)


@dataclass(frozen=True)
class Splits:
    """The split that a run learns from, and those that it is judged by."""

    train: Dataset
    held_out: tuple[str, ...]
    contents: UInt64[np.ndarray, "_"] | None = None  # of all images that the final weights were trained on


def resolve_models(config: Training, context: Context) -> Training:
    """Return a config with every field of the row of each of its networks."""
    stages = tuple(replace(s, model=resolve_model(s.model, context) if s.model else None) for s in config.stages)
    return replace(config, model=resolve_model(config.model, context), stages=stages)


def plan(
    config: Training, splits: Splits, trained: Provenance, execution: Execution, context: Context, score: SplitScorer
) -> tuple[Leg, ...]:
    """Return the legs of a run. Raise `UserError` for anything in them that does not fit together.

    A stage without a network or a preprocess takes that of the stage before.
    """
    legs: list[Leg] = []
    before: NetworkClassifier | None = None
    model, preprocess = config.model, config.preprocess
    for number, stage in enumerate(config.stages):
        model, preprocess = stage.model or model, stage.preprocess or preprocess
        with in_stage(number, stage.name or model.network):
            outline = sketch(model, splits.train.classes, preprocess, context)
            if before is not None:
                begin(outline, before, stage.begin)  # outlines have no weights: this only checks
            layer_rates(outline.network, stage.rates)
            pairs = has_batch_norm(outline.network)
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
            skips=config.nonfinite == "skip",
            pairs=pairs,
            trained=trained,
        )
        legs.append(leg)
        before = outline
    return tuple(legs)


@contextlib.contextmanager
def in_stage(number: int, name: str) -> Iterator[None]:
    """Let a `UserError` of a block name the stage, where it is not the first, and the options of that stage alone."""
    try:
        yield
    except UserError as error:
        if number == 0:
            raise
        raise UserError(f"stage {name}: {STAGE_OPTIONS.sub(f'--stages.{number}.', str(error))}") from None


def check_batch(stage: Stage, network: str, pairs: bool) -> None:
    """Raise `UserError` for a batch of one image where the network has batch norm."""
    if pairs and stage.batch < 2:
        raise UserError(f"--batch {stage.batch} is too small: {network} has batch norm, which needs two images or more")


def loader_of(
    config: Training,
    stage: Stage,
    model: Model,
    preprocess: Preprocess,
    pairs: bool,
    train: Dataset,
    execution: Execution,
) -> Loader:
    """Return the loader of a stage's training images; padding has the rounded mean colour."""
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
    """Return a mean of values in [0, 1], rounded, as the colour of a pixel."""
    return torch.tensor([round(255 * value) for value in mean], dtype=torch.uint8)
