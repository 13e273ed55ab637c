"""What a recipe returns: one frozen value with every choice in it. Optimisers and schedules are kinds, from tables."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from imclass.core.bounds import Above, AtLeast, AtMost, Below, check_bounds
from imclass.core.errors import require
from imclass.core.preprocess import Preprocess

CONFIG_FORMAT = 2  # of a run's config.json
Pair: TypeAlias = tuple[float, float]
Seed: TypeAlias = Annotated[int, AtLeast(0), AtMost(2**63 - 1)]


@dataclass(frozen=True)
class Model:
    """Which network, its size, and what it subtracts and divides by (of images in [0, 1], a value a channel)."""

    network: str
    row: dict[str, Any] = field(default_factory=dict)  # what differs from the network's row in its table
    mean: tuple[float, ...] = (0.0,)
    std: Annotated[tuple[float, ...], Above(0)] = (1.0,)
    mean_image: bool = False  # subtract the mean of the training images, pixel by pixel, instead of `mean`
    mean_colour: bool = False  # subtract the mean of all pixels of the training images, instead of `mean`
    initialiser: str = ""  # how weights begin: glorot, he, vgg or alexnet; empty for the network's own way

    def check_together(self, at: str) -> None:
        """Raise `UserError` for a mean or std of pixel values up to 255, and for two means."""
        require(
            not (self.mean_image and self.mean_colour),
            f"{at}mean_colour",
            "true",
            "false where model.mean-image is true",
        )
        for name, values in (("mean", self.mean), ("std", self.std)):
            fine = all(0 <= value <= 1 for value in values)
            require(fine, f"{at}{name}", values, "of images in [0, 1]: divide mean and std of values up to 255 by 255")


@dataclass(frozen=True)
class Optimiser(ABC):
    """A kind of optimiser with its settings; the learning rate is not among them."""

    kind: ClassVar[str] = ""  # its name in the table

    @abstractmethod
    def build(self, groups: list[dict[str, Any]]) -> Any:
        """Return a `torch.optim.Optimizer` of these parameter groups.

        All that its state holds for a parameter must be tensors, so that a checkpoint can keep it.
        """


@dataclass(frozen=True)
class Position:
    """How far a stage has come: steps and images before the step in question, steps in all, what each epoch came to."""

    step: int
    samples: int
    steps: int
    history: tuple[float, ...] = ()  # the stage's validation accuracies
    errors: tuple[float, ...] = ()  # the stage's training errors, a share of the images of each finished epoch


@dataclass(frozen=True)
class Schedule(ABC):
    """A learning rate as a pure function of position and history: there is nothing to save and nothing to resume."""

    kind: ClassVar[str] = ""  # its name in the table
    needs_validation: ClassVar[bool] = False
    rate: Annotated[float, Above(0), AtMost(1e6)] = 0.1  # the highest rate
    warmup: Annotated[int, AtLeast(0)] = 0  # steps that climb linearly from 0 to the schedule
    warmup_share: Annotated[float, AtLeast(0), AtMost(1)] = 1.0  # of the stage's steps; warm-up takes no more of them

    @abstractmethod
    def share_at(self, position: Position) -> float:
        """Return the share of `rate` at a position, before warm-up."""

    def warmup_of(self, steps: int) -> int:
        """Return how many of a stage's steps the warm-up takes."""
        return min(self.warmup, round(self.warmup_share * steps))

    def rate_at(self, position: Position) -> float:
        """Return the learning rate of the step at `position`."""
        share, warmup = self.share_at(position), self.warmup_of(position.steps)
        if position.step < warmup:  # Goyal et al., arXiv:1706.02677, section 2.2: climb linearly to the schedule
            share *= (position.step + 1) / warmup
        return self.rate * share


@dataclass(frozen=True)
class Objective(ABC):
    """A kind of objective: what is minimised."""

    kind: ClassVar[str] = ""  # its name in the table
    link: ClassVar[Literal["softmax", "sigmoid"]] = "softmax"  # of what it trains; "sigmoid" is of several labels

    @abstractmethod
    def loss(self, scores: Any, targets: Any) -> Any:
        """Return the loss of each image, a tensor [N], for scores, a tensor [N K], and targets (core/targets.py)."""


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """The negative log of the label's posterior under the softmax of the scores, in nats; of shares, their mean.

    It maximises what multinomial logistic regression does (Krizhevsky et al., NIPS 2012, section 3).
    """

    kind: ClassVar[str] = "cross-entropy"

    def loss(self, scores: Any, targets: Any) -> Any:
        """Return minus the log of the posterior of each image's label, or of each class times its share."""
        from torch.nn import functional

        from imclass.core.targets import Soft

        wanted: Any = targets.rows if isinstance(targets, Soft) else targets.labels
        return functional.cross_entropy(scores, wanted, reduction="none")


@dataclass(frozen=True)
class BinaryCrossEntropy(Objective):
    """The negative log of the probability of each mark under the sigmoid of its score, in nats, summed over classes.

    The sum, as in T. Ridnik et al., "Asymmetric loss for multi-label classification", ICCV 2021, equation 1, trains
    each class as a classifier by itself would be: how many other classes there are does not slow it down. What was not
    judged adds nothing.
    """

    kind: ClassVar[str] = "binary-cross-entropy"
    link: ClassVar[Literal["softmax", "sigmoid"]] = "sigmoid"

    def loss(self, scores: Any, targets: Any) -> Any:
        """Return the sum over the judged classes of each image."""
        from torch.nn import functional

        marks = targets.marks
        each = functional.binary_cross_entropy_with_logits(scores, (marks == 1).to(scores.dtype), reduction="none")
        return (each * (marks >= 0)).sum(1)


@dataclass(frozen=True)
class Augment:
    """A kind of random change of training images with its settings. Each choice follows (seed, epoch, sample) alone.

    A kind has one of two methods. `windows(before, sizes, draws, ids)` chooses geometry for many images without
    touching pixels (`imclass.data.augment.window.WindowKind`). `colour(view, draws, id)` changes the pixels of one
    image at the network's size (`imclass.data.augment.colour.ColourKind`).
    """

    kind: ClassVar[str] = ""  # its name in the table

    def __init_subclass__(cls) -> None:
        """Raise `TypeError` for a kind that has both methods or neither."""
        if hasattr(cls, "windows") == hasattr(cls, "colour"):
            raise TypeError(f"the augmentation {cls.__name__} must have one of the methods `windows` and `colour`")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of training: epochs under one optimiser and schedule. Each stage passes its weights on to the next.

    `begin` decides what a stage takes from the weights before it, which are those of `init` for the first stage.
    "continue" takes all that fits by name, "fresh" nothing, "first-and-last" the first four convolutions and all fully
    connected layers (Simonyan and Zisserman, ICLR 2015, section 3.1).
    """

    name: str = ""  # of its folder in the run; the network's name where it is empty
    kind: Literal["descend"] = "descend"  # how weights are found: by gradient descent
    model: Model | None = None  # another network from here on
    preprocess: Preprocess | None = None  # another size or scale from here on
    begin: Literal["continue", "fresh", "first-and-last"] = "continue"  # with all weights that fit, none, or VGG's
    rates: dict[str, float] = field(default_factory=dict)  # factor by layer pattern, the last match wins; 0 freezes
    patience: Annotated[int, AtLeast(0)] = 0  # evaluations without improvement that end the stage; 0: none do
    keep_start: bool = False  # the weights that it begins from are scored as well, and may be chosen
    epochs: Annotated[int, AtLeast(1)] = 1
    batch: Annotated[int, AtLeast(1)] = 128
    micro_batches: Annotated[int, AtLeast(1)] = 1  # logical parts of a step, for any number of processes
    optimiser: Optimiser
    schedule: Schedule
    objective: Objective = CrossEntropy()
    augment: tuple[Augment, ...] = ()  # kinds in order, such as flip and pad; none leaves images as they are

    def check_together(self, at: str) -> None:
        """Raise `UserError` for more parts of a step than it has images, and for a name that cannot be a folder's."""
        plain = all(c.isalnum() or c in "-_." for c in self.name) and not self.name.startswith(".")
        require(plain, f"{at}name", repr(self.name), "letters, digits and any of - _ ., as it names a folder")
        require(self.micro_batches <= self.batch, f"{at}micro_batches", self.micro_batches, "at most the batch")


@dataclass(frozen=True)
class Share:
    """A split of a folder that has none: of each class, a share is held out for testing and the rest is trained on."""

    kind: ClassVar[str] = "share"
    test: Annotated[float, Above(0), Below(1)] = 0.2  # rounded to whole images, at least one of two


@dataclass(frozen=True)
class Cut:
    """How data is cut into splits: the rule and seed for a folder that has none, and validation's share of train."""

    rule: Share = Share()
    seed: int = 0
    validation: float = 0.0


@dataclass(frozen=True)
class Training:
    """A training run: every choice that decides its result. A recipe returns one.

    `device` and `precision` are wishes. A run resolves them when it begins and keeps the answer as its `Runtime`.
    """

    recipe: str
    model: Model
    stages: tuple[Stage, ...]
    preprocess: Preprocess
    data: str
    split: Share = Share()
    split_seed: Seed = 0  # decides which images are held out, and nothing else; `seed` does not
    validation: Annotated[float, AtLeast(0), Below(1)] = 0.0  # share of train, of each class, that chooses the weights
    init: str = ""  # a MODEL whose weights it begins from, with its network and preprocess; empty: random ones
    init_digest: str = ""  # of its tensors; found when the run begins
    seed: Seed = 0
    device: str = "auto"  # cpu, cuda, cuda:N or mps; auto takes CUDA where there is one
    precision: Literal["fp32", "bf16", "auto"] = "fp32"  # auto: what is fastest here and computes the same
    nonfinite: Literal["stop", "skip"] = "stop"
    max_megapixels: Annotated[float, Above(0)] = 50.0  # of an image file; larger ones are refused

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def cut(self) -> Cut:
        """How the data is cut into splits."""
        return Cut(self.split, self.split_seed, self.validation)

    def check_together(self, at: str) -> None:
        """Raise `UserError` for a normalisation that does not go with the images."""
        require(len(self.stages) >= 1, "stages", len(self.stages), "at least one stage")
        mean, std = self.model.mean, self.model.std
        require(len(mean) in (1, self.preprocess.w_in), "model.mean", mean, "1 value, or one a channel")
        require(len(mean) == len(std), "model.std", std, "as many values as model.mean")


@dataclass(frozen=True)
class Execution:
    """How a run is carried out. Nothing here decides its result, so all of it may differ when a run goes on."""

    workers: Annotated[int, AtLeast(0)] = 2  # decoding threads; 0 decodes in the main thread
    memory: Annotated[int, AtLeast(0)] = 2048  # MiB: a data set that needs less at the network's size is kept decoded
    save_every: Annotated[int, AtLeast(0)] = 60  # seconds between two checkpoints; each epoch's end saves as well
    keep: Annotated[int, AtLeast(2, "one is the fallback of the other")] = 2  # checkpoints kept
    keep_checkpoints: bool = False  # when the run is finished; else they are removed then
    strict: bool = False  # a refused image is an error
    pictures: bool = True  # keep those that the report shows: the worst mistakes, and an image
    plugins_changed: bool = False  # go on though a plugin that defines what the run uses has changed

    def __post_init__(self) -> None:
        check_bounds(self)
