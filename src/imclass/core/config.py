"""Training configs: frozen values that contain all settings of a run. Recipes return them.

Each kind of optimiser, schedule, objective, solver and augmentation is found by name in a table. The comment on a field
is its help text on the command line.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from imclass.core.bounds import Above, AtLeast, AtMost, Below, check_bounds
from imclass.core.errors import require
from imclass.core.preprocess import Preprocess

CONFIG_FORMAT = 2  # the format number in a run's config.json
Pair: TypeAlias = tuple[float, float]
Seed: TypeAlias = Annotated[int, AtLeast(0), AtMost(2**63 - 1)]


@dataclass(frozen=True)
class Model:
    """A network and its normalisation.

    `mean` and `std` contain one number per channel, or one for all channels. They apply to pixels in [0, 1].
    """

    network: str
    row: dict[str, Any] = field(default_factory=dict)  # fields that replace those of the network's row in the table
    mean: tuple[float, ...] = (0.0,)
    std: Annotated[tuple[float, ...], Above(0)] = (1.0,)
    mean_image: bool = False  # subtract the pixel-by-pixel mean of the training images, instead of `mean`
    mean_colour: bool = False  # subtract the mean over all pixels of the training images, instead of `mean`
    initialiser: str = ""  # initial weights: glorot, he, vgg or alexnet; empty: as in the network's paper

    def check_together(self, at: str) -> None:
        """Raise `UserError` if `mean` or `std` is not in [0, 1], or if both a mean image and a mean colour are set."""
        both = self.mean_image and self.mean_colour
        require(not both, f"{at}mean_colour", "true", "false if model.mean-image is true")
        for name, values in (("mean", self.mean), ("std", self.std)):
            in_range = all(0 <= value <= 1 for value in values)
            wanted = "computed from images in [0, 1]; divide a mean and std for the range 0 to 255 by 255"
            require(in_range, f"{at}{name}", values, wanted)


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
class Objective(ABC):
    """A kind of objective: the loss that training minimises."""

    kind: ClassVar[str] = ""  # its name in the table
    link: ClassVar[Literal["softmax", "sigmoid"]] = "softmax"  # "sigmoid" for images with several labels

    @abstractmethod
    def loss(self, scores: Any, targets: Any) -> Any:
        """Return the loss for each image [N], given scores [N K] and targets as defined in `core/targets.py`."""


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy between labels and the softmax of the scores, in nats (natural logarithms).

    Minimising it maximises the multinomial logistic regression objective (Krizhevsky et al., NIPS 2012, section 3).
    """

    kind: ClassVar[str] = "cross-entropy"

    def loss(self, scores: Any, targets: Any) -> Any:
        """Return the negative log-probability of each image's label.

        If the targets are class fractions, return the mean over the classes, weighted by the fractions.
        """
        from torch.nn import functional

        from imclass.core.targets import Soft

        wanted: Any = targets.rows if isinstance(targets, Soft) else targets.labels
        return functional.cross_entropy(scores, wanted, reduction="none")


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


@dataclass(frozen=True)
class Augment:
    """A kind of random change to training images, with its settings.

    The random choices depend only on (seed, epoch, sample).

    Each kind has one of two methods. `windows(before, sizes, draws, ids)` chooses the geometry of many images without
    reading their pixels (`imclass.data.augment.window.WindowKind`). `colour(view, draws, id)` changes the pixels of one
    image at the network's input size (`imclass.data.augment.colour.ColourKind`).
    """

    kind: ClassVar[str] = ""  # its name in the table

    def __init_subclass__(cls) -> None:
        """Raise `TypeError` if the class has both `windows` and `colour`, or neither."""
        if hasattr(cls, "windows") == hasattr(cls, "colour"):
            raise TypeError(f"the augmentation {cls.__name__} must have one of the methods `windows` and `colour`")


# Fields that a stage of kind "solve" does not use.
DESCENT_FIELDS = ("augment", "batch", "epochs", "micro_batches", "optimiser", "patience", "rates", "schedule")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of training: either epochs of gradient descent, or the fit of the last layer by a solver.

    Each stage passes its weights on to the next. A stage of kind "solve" consists of one epoch with one step.

    `begin` decides which weights a stage inherits from the preceding stage or, if it is the first stage, from `init`.
    "continue" inherits all weights with the same name and shape, "fresh" inherits none, and "first-and-last" inherits
    those of the first four convolutions and all fully connected layers (Simonyan and Zisserman, ICLR 2015, section
    3.1).
    """

    name: str = ""  # the stage's folder in the run; empty: the network's name
    kind: Literal["descend", "solve"] = "descend"  # how weights are found: by gradient descent, or by a solver
    model: Model | None = None  # the network from this stage on; empty: the same as before
    preprocess: Preprocess | None = None  # the preprocess from this stage on; empty: the same as before
    begin: Literal["continue", "fresh", "first-and-last"] = "continue"  # inherit all weights that fit, none, or VGG's
    rates: dict[str, float] = field(default_factory=dict)  # factors per layer pattern; the last match wins, 0 freezes
    patience: Annotated[int, AtLeast(0)] = 0  # evaluations without improvement after which the stage ends; 0: no limit
    keep_start: bool = False  # also score the stage's initial weights, and allow them to be chosen
    epochs: Annotated[int, AtLeast(1)] = 1  # passes over the training images
    batch: Annotated[int, AtLeast(1)] = 128  # images in a step
    micro_batches: Annotated[int, AtLeast(1)] = 1  # logical parts of a step, the same for any number of processes
    optimiser: Optimiser | None = None
    schedule: Schedule | None = None
    solver: Solver | None = None
    objective: Objective = CrossEntropy()
    augment: tuple[Augment, ...] = ()  # kinds in order, such as flip and pad; none: images are not changed

    def check_together(self, at: str) -> None:
        """Raise `UserError` if `name` is not a valid folder name, or if a step has more parts than images.

        Also raise it if a field that this kind of stage requires is missing, or if a field that it forbids is set.
        """
        plain = all(c.isalnum() or c in "-_." for c in self.name) and not self.name.startswith(".")
        require(
            plain,
            f"{at}name",
            repr(self.name),
            "letters, digits, '-', '_' or '.', with no leading dot, because it names a folder",
        )
        require(self.micro_batches <= self.batch, f"{at}micro_batches", self.micro_batches, "at most the batch size")
        needed = ("solver",) if self.kind == "solve" else ("optimiser", "schedule")
        for name in ("optimiser", "schedule", "solver"):
            wanted, found = name in needed, getattr(self, name)
            kind = found.kind if found else "absent"
            rule = f"{'set' if wanted else 'left out'} in a stage of kind {self.kind}"
            require((found is not None) == wanted, f"{at}{name}", kind, rule)
        require(self.kind == "descend" or self.epochs == 1, f"{at}epochs", self.epochs, "1 in a stage of kind solve")

    @staticmethod
    def takes_field(record: Mapping[str, Any], name: str) -> bool:
        """Return whether a stage, given as JSON in `record`, uses the field `name`."""
        return name not in (DESCENT_FIELDS if record["kind"] == "solve" else ("solver",))

    @property
    def descent(self) -> tuple[Optimiser, Schedule]:
        """Return the optimiser and the schedule of a stage of kind "descend"."""
        if self.optimiser is None or self.schedule is None:
            raise TypeError(f"a stage of kind {self.kind} has no optimiser and no schedule")
        return self.optimiser, self.schedule


@dataclass(frozen=True)
class Share:
    """A rule for a folder without splits: hold out a fraction of each class for testing, and train on the rest."""

    kind: ClassVar[str] = "share"
    test: Annotated[float, Above(0), Below(1)] = 0.2  # fraction of each class, rounded; at least 1 image, never all


@dataclass(frozen=True)
class Cut:
    """Settings for splitting data: a rule and a seed for data without splits, and a fraction for validation."""

    rule: Share = Share()
    seed: int = 0
    validation: float = 0.0


@dataclass(frozen=True)
class Training:
    """All settings of a training run that affect its result. A recipe returns an instance.

    `device` and `precision` may be "auto". A run resolves them when it begins and stores the result in its `Runtime`.
    """

    recipe: str
    model: Model
    stages: tuple[Stage, ...]
    preprocess: Preprocess
    data: str  # a data set's name, a folder with one subfolder per class, or a CSV file
    split: Share = Share()
    split_seed: Seed = 0  # decides which images are held out, and nothing else; it is independent of `seed`
    validation: Annotated[float, AtLeast(0), Below(1)] = 0.0  # fraction of each class in train, used to choose weights
    init: str = ""  # a MODEL to begin from: its weights, network and preprocess; empty: random weights
    init_digest: str = ""  # SHA-256 of that model's tensors, computed when the run begins
    seed: Seed = 0
    device: str = "auto"  # cpu, cuda, cuda:N or mps; auto: CUDA if available, else cpu
    precision: Literal["fp32", "bf16", "auto"] = "fp32"  # auto: on this machine, the fastest whose scores agree
    nonfinite: Literal["stop", "skip"] = "stop"
    max_megapixels: Annotated[float, Above(0)] = 50.0  # millions of pixels; image files with more are refused

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def cut(self) -> Cut:
        """Return the settings for splitting the data."""
        return Cut(self.split, self.split_seed, self.validation)

    def check_together(self, at: str) -> None:
        """Raise `UserError` if there are no stages, or if `mean` or `std` has the wrong number of values."""
        require(len(self.stages) >= 1, "stages", len(self.stages), "at least one stage")
        mean, std = self.model.mean, self.model.std
        require(len(mean) in (1, self.preprocess.w_in), "model.mean", mean, "one value, or one per channel")
        require(len(mean) == len(std), "model.std", std, "a list as long as model.mean")


@dataclass(frozen=True)
class Execution:
    """Settings of a run that do not affect its result. All of them may change when the run is resumed."""

    workers: Annotated[int, AtLeast(0)] = 2  # decoding threads; 0 decodes in the main thread
    memory: Annotated[int, AtLeast(0)] = 2048  # MiB for decoded images; a data set up to this size is kept in memory
    save_every: Annotated[int, AtLeast(0)] = 60  # seconds between checkpoints; each epoch also ends with one
    keep: Annotated[int, AtLeast(2, "one is the fallback for the other")] = 2  # how many checkpoints to keep
    keep_checkpoints: bool = False  # keep the checkpoints after the run has finished
    strict: bool = False  # make a refused image an error
    pictures: bool = True  # keep the images that the report shows: the worst mistakes and an example
    plugins_changed: bool = False  # resume even if a plugin that the run uses has changed

    def __post_init__(self) -> None:
        check_bounds(self)
