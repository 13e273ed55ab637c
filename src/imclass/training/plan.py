"""Stages as legs: each with its network, its images, and where its weights begin."""

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt64
from torch import Tensor

from imclass.core.config import Execution, Model, Stage, Training
from imclass.core.contracts import Dataset, Evaluation
from imclass.core.errors import UserError
from imclass.core.model_file import ModelHeader
from imclass.core.preprocess import Preprocess
from imclass.data.loader import Batch, Loader, Part
from imclass.data.subset import VALIDATION
from imclass.models.beginning import begin
from imclass.models.classifier import NetworkClassifier, create, resolve, sketch
from imclass.models.rates import layer_rates
from imclass.store.context import Context
from imclass.training.norms import has_batch_norm

STAGED = re.compile(r"--(?=(?:batch|begin|model|patience|preprocess|rates|schedule)\b)")  # options of one stage
Watch: TypeAlias = Callable[[], None]  # called often while images are scored; what it raises ends that
Score: TypeAlias = Callable[[NetworkClassifier, str, Watch], Evaluation]  # of a split


@dataclass(frozen=True, eq=False, kw_only=True)
class Leg:
    """A stage of a run, resolved: what it trains, from which images, and how that is judged."""

    number: int  # from 0
    name: str
    stage: Stage
    model: Model  # with its whole row
    preprocess: Preprocess
    loader: Loader
    held_out: tuple[str, ...]  # the splits that are scored
    score: Score
    context: Context
    seed: int  # of the weights that are drawn
    last_epoch: int  # finished epochs of the run when it ends, counted as if no leg before ended early
    skips: bool = False  # passes over a step that is not finite, instead of stopping
    pairs: bool = False  # whether a part needs two images, which batch norm takes its statistics from
    header: ModelHeader  # of the model file that it leaves, but for its scores
    mean: Float[Tensor, "C H W"] | None = None  # the mean image, where the network subtracts one
    contents: UInt64[np.ndarray, "_"] | None = None  # of all images that the weights were trained on
    drawn: NetworkClassifier | None = None  # what `make` returns where that was made before

    def make(self) -> NetworkClassifier:
        """Return the leg's classifier with weights as they are drawn, and its normalisation."""
        if self.drawn is not None:
            return self.drawn
        classifier = create(self.model, self.header.classes, self.preprocess, self.seed, self.context)
        if self.mean is not None:
            classifier.network.normalise(self.mean, self.model.std)
        return classifier

    @property
    def steps(self) -> int:
        """Steps of the whole leg."""
        return len(self.loader) * self.stage.epochs

    @property
    def watched(self) -> tuple[str, ...]:
        """The splits scored after each epoch: validation, which chooses the weights, else all there are."""
        return (VALIDATION,) if VALIDATION in self.held_out else self.held_out

    def fill(self, classifier: NetworkClassifier, before: NetworkClassifier) -> None:
        """Give a fresh classifier what the stage takes from the weights of the leg before."""
        begin(classifier, before, self.stage.begin)

    def names(self, batch: Batch) -> tuple[str, ...]:
        """Return the names of a batch's images."""
        positions = [i for part in batch.parts.values() for i in part.positions.tolist()]
        return tuple(self.loader.dataset.name(i) for i in positions)

    def learnable(self, batch: Batch) -> tuple[dict[int, Part], tuple[str, ...]]:
        """Return the parts of a batch that can be learned from, and the names of images left out because of batch norm.

        A part may have shrunk to one image, which batch norm cannot normalise, or to none.
        """
        least = 2 if self.pairs else 1
        kept = {n: part for n, part in batch.parts.items() if len(part.targets) >= least}
        left = [i for n, part in batch.parts.items() if n not in kept for i in part.positions.tolist()]
        return kept, tuple(self.loader.dataset.name(i) for i in left)


@dataclass(frozen=True)
class Material:
    """The images that a run learns from, and the splits that it is judged by."""

    train: Dataset
    held_out: tuple[str, ...]
    contents: UInt64[np.ndarray, "_"] | None = None  # of all images that the weights are trained on when it ends


def resolve_models(config: Training, context: Context) -> Training:
    """Return a config with the whole row of each of its networks."""
    stages = tuple(replace(s, model=resolve(s.model, context) if s.model else None) for s in config.stages)
    return replace(config, model=resolve(config.model, context), stages=stages)


def plan(
    config: Training, material: Material, header: ModelHeader, execution: Execution, context: Context, score: Score
) -> tuple[Leg, ...]:
    """Return the legs of a run. Raise `UserError` for what does not fit together, in any of them.

    A stage without a network or a preprocess takes that of the stage before.
    """
    legs: list[Leg] = []
    before: NetworkClassifier | None = None
    model, preprocess = config.model, config.preprocess
    for number, stage in enumerate(config.stages):
        model, preprocess = stage.model or model, stage.preprocess or preprocess
        with in_stage(number, stage.name or model.network):
            outline = sketch(model, material.train.classes, preprocess, context)
            if before is not None:
                begin(sketch(model, material.train.classes, preprocess, context), before, stage.begin)
            layer_rates(outline.network, stage.rates)
            pairs = has_batch_norm(outline.network)
            check_batch(stage, model.network, pairs)
        leg = Leg(
            number=number,
            name=stage.name or model.network,
            stage=stage,
            model=model,
            preprocess=preprocess,
            loader=loader_of(config, stage, model, preprocess, pairs, material.train, execution),
            held_out=material.held_out,
            score=score,
            context=context,
            seed=config.seed,
            contents=material.contents,
            last_epoch=sum(stage.epochs for stage in config.stages[: number + 1]),
            skips=config.nonfinite == "skip",
            pairs=pairs,
            header=replace(header, network=model.network, row=outline.row, preprocess=preprocess),
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
        raise UserError(f"stage {name}: {STAGED.sub(f'--stages.{number}.', str(error))}") from None


def check_batch(stage: Stage, network: str, pairs: bool) -> None:
    """Raise `UserError` for a batch of one image under batch norm, which normalises images by each other."""
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
    """Return the training images as a stage sees them; padding takes the rounded mean."""
    mean = model.mean * (preprocess.w_in if len(model.mean) == 1 else 1)
    return Loader(
        dataset=train,
        preprocess=preprocess,
        augment=stage.augment,
        fill=torch.tensor([round(255 * m) for m in mean], dtype=torch.uint8),
        batch=stage.batch,
        seed=config.seed,
        parts=stage.micro_batches,
        pairs=pairs,
        workers=execution.workers,
        memory_mib=execution.memory,
    )
