"""The network of a run, and the stages in which it is trained. The comment on a field is its help text."""
# Tested in tests/core/test_config.py

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from imclass.core.bounds import Above, AtLeast
from imclass.core.config.kinds import Augment, Average, CrossEntropy, Objective, Optimiser, Schedule, Solver
from imclass.core.errors import require
from imclass.core.preprocess import Preprocess


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
    standardise: bool = False  # normalise each image by its pixels' mean and std, instead of `mean` and `std`
    initialiser: str = ""  # initial weights: glorot, he, vgg or alexnet; empty: as in the network's paper

    def check_together(self, at: str) -> None:
        """Raise `UserError` if `mean` or `std` is not in [0, 1], or if two fields that replace `mean` are set."""
        both = self.mean_image and self.mean_colour
        require(not both, f"{at}mean_colour", "true", "false if model.mean-image is true")
        both = self.standardise and (self.mean_image or self.mean_colour)
        wanted = "false if model.mean-image or model.mean-colour is true"
        require(not both, f"{at}standardise", "true", wanted)
        for name, values in (("mean", self.mean), ("std", self.std)):
            in_range = all(0 <= value <= 1 for value in values)
            wanted = "computed from images in [0, 1]; divide a mean and std for the range 0 to 255 by 255"
            require(in_range, f"{at}{name}", values, wanted)


# Fields that a stage of kind "solve" does not use.
DESCENT_FIELDS = (
    "augment",
    "average",
    "batch",
    "epochs",
    "micro_batches",
    "minutes",
    "optimiser",
    "patience",
    "rates",
    "schedule",
)


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
    minutes: Annotated[float, AtLeast(0)] = 0.0  # time limit on this machine, in place of `epochs`; 0: use `epochs`
    batch: Annotated[int, AtLeast(1)] = 128  # images in a step
    micro_batches: Annotated[int, AtLeast(1)] = 1  # logical parts of a step, the same for any number of processes
    optimiser: Optimiser | None = None
    schedule: Schedule | None = None
    solver: Solver | None = None
    average: Average | None = None  # average of the weights, which is scored and kept in their place; empty: none
    objective: Objective = CrossEntropy()
    augment: tuple[Augment, ...] = ()  # kinds in order, such as flip and pad; none: images are not changed

    def check_together(self, at: str) -> None:
        """Raise `UserError` if `name` is not a valid folder name, or if a step has more parts than images.

        Also raise it if mixing images does not fit the other fields, if a field that this kind of stage requires is
        missing, or if a field that it forbids is set.
        """
        plain = all(c.isalnum() or c in "-_." for c in self.name) and not self.name.startswith(".")
        require(
            plain,
            f"{at}name",
            repr(self.name),
            "letters, digits, '-', '_' or '.', with no leading dot, because it names a folder",
        )
        require(self.micro_batches <= self.batch, f"{at}micro_batches", self.micro_batches, "at most the batch size")
        if mixers := [rule.kind for rule in self.augment if hasattr(rule, "mix")]:
            least = 2 * self.micro_batches
            why = f"twice --micro-batches, because {mixers[0]} mixes images of the same part"
            pairs = f"at least {least}, {why}; or leave {mixers[0]} out of --augment"
            require(least <= self.batch, f"{at}batch", self.batch, pairs)
            rule = f"an objective that accepts mixed targets, such as cross-entropy; or leave out {mixers[0]}"
            require(self.objective.takes_soft, f"{at}objective.kind", self.objective.kind, rule)
        needed = ("solver",) if self.kind == "solve" else ("optimiser", "schedule")
        for name in ("optimiser", "schedule", "solver"):
            wanted, found = name in needed, getattr(self, name)
            kind = found.kind if found else "absent"
            rule = f"{'set' if wanted else 'left out'} in a stage of kind {self.kind}"
            require((found is not None) == wanted, f"{at}{name}", kind, rule)
        if self.kind == "solve":
            require(self.epochs == 1, f"{at}epochs", self.epochs, "1 in a stage of kind solve")
            require(self.minutes == 0, f"{at}minutes", self.minutes, "0 in a stage of kind solve")

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
