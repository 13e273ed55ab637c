"""The kinds of optimiser, schedule, average, objective, solver and augmentation, each found by name in a table."""
# Tested in tests/core/test_config.py

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from imclass.core.bounds import Above, AtLeast, AtMost, Below

Pair: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Optimiser(ABC):
    """A kind of optimiser with its settings. The schedule sets the learning rate."""

    kind: ClassVar[str] = ""  # its name in the table

    @abstractmethod
    def build(self, groups: list[dict[str, Any]]) -> Any:
        """Return a `torch.optim.Optimizer` for these parameter groups.

        The optimiser's state for each parameter must consist only of tensors, because checkpoints store nothing else.
        """


@dataclass(frozen=True)
class Position:
    """The progress of a stage, from which its schedule computes the learning rate."""

    step: int  # steps before this one
    samples: int  # images before this step
    steps: int  # steps in the whole stage
    history: tuple[float, ...] = ()  # the stage's validation accuracies so far
    errors: tuple[float, ...] = ()  # training errors of the stage's finished epochs, as fractions
    epoch: int = 0  # epochs before this one


def multiply_count(count: int, ratio: float) -> int:
    """Return `ratio` times a number of steps, epochs, pixels or images, rounded half up, but at least 1."""
    return max(1, int(count * ratio + 0.5))


@dataclass(frozen=True)
class Schedule(ABC):
    """A kind of schedule with its settings.

    The learning rate depends only on these and on the position in the stage. Resuming therefore needs no saved state.
    """

    kind: ClassVar[str] = ""  # its name in the table
    needs_validation: ClassVar[bool] = False
    rate: Annotated[float, Above(0), AtMost(1e6)] = 0.1  # the highest rate
    warmup: Annotated[int, AtLeast(0)] = 0  # steps over which the rate climbs linearly from 0 to the scheduled rate
    warmup_share: Annotated[float, AtLeast(0), AtMost(1)] = 1.0  # the largest fraction of the stage's steps for warm-up

    @abstractmethod
    def share_at(self, position: Position) -> float:
        """Return the fraction of `rate` to use at a position, without regard to warm-up."""

    def stretch(self, ratio: float) -> "Schedule":
        """Return the schedule for a stage with `ratio` times as many epochs.

        Settings that count epochs are multiplied by `ratio`.
        """
        return self

    def warmup_of(self, steps: int) -> int:
        """Return the number of warm-up steps in a stage of `steps` steps."""
        return min(self.warmup, round(self.warmup_share * steps))

    def rate_at(self, position: Position) -> float:
        """Return the learning rate for the step at `position`."""
        share = self.share_at(position)
        warmup = self.warmup_of(position.steps)
        if position.step < warmup:  # Goyal et al., arXiv:1706.02677, section 2.2: climb linearly to the rate
            share *= (position.step + 1) / warmup
        return self.rate * share


@dataclass(frozen=True)
class Average(ABC):
    """A kind of average of a stage's weights, with its settings. The averaged weights are scored, chosen and passed on.

    After each step, the average moves towards the current weights: average += weight * (weights - average). The weight
    depends only on these settings and on the position in the stage. Resuming therefore needs only the average itself.
    """

    kind: ClassVar[str] = ""  # its name in the table
    remeasures: ClassVar[bool] = False  # whether batch norm statistics are measured again before the weights are scored

    @abstractmethod
    def weight_after(self, done: int, steps: int, batches: int) -> float:
        """Return the weight of the current weights after `done` of the stage's `steps` steps.

        An epoch consists of `batches` steps. The weight 0 leaves the average unchanged. There is no average before
        the first weight above 0, and this first weight counts as 1.
        """


@dataclass(frozen=True)
class Objective(ABC):
    """A kind of objective: the loss that training minimises."""

    kind: ClassVar[str] = ""  # its name in the table
    link: ClassVar[Literal["softmax", "sigmoid"]] = "softmax"  # "sigmoid" for images with several labels
    takes_soft: ClassVar[bool] = False  # whether targets may be fractions of classes, such as those of mixed images

    @abstractmethod
    def loss(self, scores: Any, targets: Any) -> Any:
        """Return the loss for each image [N], given scores [N K] and targets as defined in `core/targets.py`."""


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy between labels and the softmax of the scores, in nats (natural logarithms).

    Minimising it maximises the multinomial logistic regression objective (Krizhevsky et al., NIPS 2012, section 3).
    Smoothing replaces a label's distribution q over K classes by (1 - smoothing) q + smoothing / K (Szegedy et al.,
    CVPR 2016, section 7).
    """

    kind: ClassVar[str] = "cross-entropy"
    takes_soft: ClassVar[bool] = True
    smoothing: Annotated[float, AtLeast(0), Below(1)] = 0.0  # share of each label that is spread over all classes

    def loss(self, scores: Any, targets: Any) -> Any:
        """Return the negative log-probability of each image's label.

        If labels are smoothed or the targets are class fractions, return the mean over the classes, weighted by the
        fractions.
        """
        from torch.nn import functional

        from imclass.core.targets import Soft

        wanted: Any = targets.rows if isinstance(targets, Soft) else targets.labels
        return functional.cross_entropy(scores, wanted, reduction="none", label_smoothing=self.smoothing)


@dataclass(frozen=True)
class BinaryCrossEntropy(Objective):
    """Binary cross-entropy between labels and the sigmoid of the scores, in nats, summed over classes.

    Because of the sum (T. Ridnik et al., "Asymmetric loss for multi-label classification", ICCV 2021, equation 1), each
    class trains as fast as in a classifier for that class alone. A mean would slow training down in proportion to the
    number of classes. Classes for which an image is not annotated do not contribute to its loss.
    """

    kind: ClassVar[str] = "binary-cross-entropy"
    link: ClassVar[Literal["softmax", "sigmoid"]] = "sigmoid"

    def loss(self, scores: Any, targets: Any) -> Any:
        """Return the loss for each image, summed over the classes for which the image is annotated."""
        from torch.nn import functional

        marks = targets.marks
        losses = functional.binary_cross_entropy_with_logits(scores, (marks == 1).to(scores.dtype), reduction="none")
        return (losses * (marks >= 0)).sum(1)


@dataclass(frozen=True)
class Solver(ABC):
    """A kind of solver with its settings. A solver fits a network's last layer to features of the training images."""

    kind: ClassVar[str] = ""  # its name in the table
    min_images: ClassVar[int] = 2  # the number of training images that each class needs

    @abstractmethod
    def build(self) -> Any:
        """Return an unfitted `imclass.pipelines.part.LinearScorer`."""


@dataclass
class AnyPart:
    """A part of a pipeline with its settings (`imclass.pipelines.part.PipelinePart`)."""

    kind: ClassVar[str] = ""  # its name in the table


@dataclass(frozen=True)
class Augment:
    """A kind of random change to training images, with its settings.

    The random choices depend only on (seed, epoch, sample).

    Each kind has one of three methods. `windows(before, sizes, draws, ids)` chooses the geometry of many images without
    reading their pixels (`imclass.data.augment.window.WindowKind`). `colour(view, draws, id)` changes the pixels of one
    image at the network's input size (`imclass.data.augment.colour.ColourKind`). `mix(images, targets, draws, ids)`
    mixes the images of a part of a step, and their targets (`imclass.data.augment.mixing.MixKind`). A kind that depends
    on the training images also has the methods of `imclass.data.augment.measuring.MeasuringKind`.
    """

    kind: ClassVar[str] = ""  # its name in the table

    def __init_subclass__(cls) -> None:
        """Raise `TypeError` unless the class has exactly one of `windows`, `colour` and `mix`."""
        if sum(hasattr(cls, name) for name in ("windows", "colour", "mix")) != 1:
            raise TypeError(
                f"the augmentation {cls.__name__} must have one of the methods `windows`, `colour` and `mix`"
            )

    def check_size(self, size: int, at: str) -> None:
        """Raise `UserError` if the kind cannot create views of this height and width.

        `at` is the prefix of the options that set the kind's fields, such as "augment.crop.".
        """

    @property
    def scales(self) -> tuple[int, ...]:
        """Return S, the shorter side of the images before they are cropped, or the ends of the range of S, in pixels.

        The result is empty if the kind does not rescale images to a shorter side.
        """
        return ()

    def with_lengths(self, ratio: float) -> "Augment":
        """Return the kind for images whose sides are `ratio` times as long."""
        return self
