"""A training run: every setting that affects its result, and the settings that do not.

The comment on a field is its help text.
"""
# Tested in tests/core/test_config.py

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from imclass.core.bounds import Above, AtLeast, AtMost, Below, check_bounds
from imclass.core.codec import has_type
from imclass.core.config.split import Cut, Share, Split
from imclass.core.config.stage import Model, Stage
from imclass.core.errors import UserError, require
from imclass.core.preprocess import Preprocess

CONFIG_FORMAT = 2  # the format number in a run's config.json
Seed: TypeAlias = Annotated[int, AtLeast(0), AtMost(2**63 - 1)]


@dataclass(frozen=True)
class Training:
    """All settings of a training run that affect its result. A recipe returns an instance.

    `device` and `precision` may be "auto". A run resolves them when it begins and stores the result in its `Runtime`.
    """

    recipe: str
    model: Model
    stages: tuple[Stage, ...]
    preprocess: Preprocess
    data: str  # a data set's name, a folder with one subfolder per class, a CSV file or a list (.txt)
    split: Split = Share()
    split_seed: Seed = 0  # decides which images are held out, and nothing else; it is independent of `seed`
    validation: Annotated[float, AtLeast(0), Below(1)] = 0.0  # fraction of each class in train, used to choose weights
    balance: Literal["none", "weights", "sampler"] = "none"  # how classes are balanced: by loss weights or repetition
    costs: dict[str, float] = field(default_factory=dict)  # factor for the loss of a class's images, keyed by class
    classes: tuple[str, ...] = ()  # in the order of the outputs: NAME, or OLD=NEW to rename or merge; empty: all
    grow: bool = False  # add the data's classes to those of the model given by `init`
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
        """Return the settings for splitting the data, without the classes of the model to grow."""
        return Cut(self.split, self.split_seed, self.validation, self.classes)

    def check_together(self, at: str) -> None:
        """Raise `UserError` if there are no stages, or if `grow`, `costs`, `model.mean` or `model.std` is invalid."""
        require(not self.grow or bool(self.init), "grow", "true", "used with --init MODEL, the model to grow")
        require(len(self.stages) >= 1, "stages", len(self.stages), "at least one stage")
        mean, std = self.model.mean, self.model.std
        require(len(mean) in (1, self.preprocess.w_in), "model.mean", mean, "one value, or one per channel")
        require(len(mean) == len(std), "model.std", std, "a list as long as model.mean")
        for name, cost in self.costs.items():
            if not (has_type(float, cost) and cost > 0):
                raise UserError(f"--costs.{name} is {cost}; it must be above 0")


@dataclass(frozen=True)
class Execution:
    """Settings of a run that do not affect its result. All of them may change when the run is resumed."""

    workers: Annotated[int, AtLeast(0)] = 2  # decoding threads; 0 decodes in the main thread
    memory: Annotated[int, AtLeast(0)] = 2048  # MiB for decoded images; a data set up to this size is kept in memory
    save_every: Annotated[int, AtLeast(0)] = 60  # seconds between checkpoints; each epoch also ends with one
    save_steps: Annotated[int, AtLeast(0)] = 0  # also save at each step that is a multiple of this; 0: only by time
    keep: Annotated[int, AtLeast(2, "one is the fallback for the other")] = 2  # how many checkpoints to keep
    keep_checkpoints: bool = False  # keep the checkpoints after the run has finished
    strict: bool = False  # make a refused image an error
    pictures: bool = True  # keep the images that the report shows: the worst mistakes and an example
    plugins_changed: bool = False  # resume even if a plugin that the run uses has changed

    def __post_init__(self) -> None:
        check_bounds(self)
