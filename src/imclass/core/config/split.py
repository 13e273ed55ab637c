"""Rules for dividing a data set into training, validation and test images. Each kind of rule has a name."""
# Tested in tests/core/test_config.py

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from imclass.core.bounds import Above, AtLeast, Below
from imclass.core.codec import Kinds
from imclass.core.errors import require
from imclass.core.tables import EntryTable


@dataclass(frozen=True)
class Split(ABC):
    """A kind of rule for choosing the test images."""

    kind: ClassVar[str] = ""  # its name in the table

    @abstractmethod
    def text(self, seed: int) -> str:
        """Return the rule in words, as model files record it."""


@dataclass(frozen=True)
class Share(Split):
    """A rule for a folder without splits: hold out a fraction of each class for testing, and train on the rest."""

    kind: ClassVar[str] = "share"
    test: Annotated[float, Above(0), Below(1)] = 0.2  # fraction of each class, rounded; at least 1 image, never all

    def text(self, seed: int) -> str:
        """Return, for example, "hash 80/20, seed 0"."""
        return f"hash {100 * (1 - self.test):g}/{100 * self.test:g}, seed {seed}"


class Division(Split):
    """A kind of rule for data with or without splits, which divides it in several ways. A number chooses one of them.

    Data without splits is divided as a whole. If data has splits, only its training images are divided.
    """

    number: int  # from 1


@dataclass(frozen=True)
class Fold(Division):
    """A rule that divides data into folds, tests on one fold, and trains on the others."""

    kind: ClassVar[str] = "fold"
    folds: Annotated[int, AtLeast(2)] = 5  # number of parts of about equal size into which each class is divided
    number: Annotated[int, AtLeast(1)] = 1  # the fold that serves as the test split, counted from 1

    def check_together(self, at: str) -> None:
        """Raise `UserError` if there is no fold of this number."""
        require(self.number <= self.folds, f"{at}number", self.number, f"at most the number of folds, {self.folds}")

    def text(self, seed: int) -> str:
        """Return, for example, "fold 2/5, seed 0"."""
        return f"fold {self.number}/{self.folds}, seed {seed}"


@dataclass(frozen=True)
class Count(Division):
    """A rule that draws a fixed number of training images of each class, and tests on others of the same class.

    This is the protocol of Caltech-101 and Caltech-256 (L. Fei-Fei et al., CVPR-W 2004; G. Griffin et al., 2007). The
    number of the draw, together with the split seed, decides which images are drawn.
    """

    kind: ClassVar[str] = "count"
    train: Annotated[int, AtLeast(1)] = 30  # training images of each class
    test: Annotated[int, AtLeast(0)] = 50  # the most test images of each class; 0: all others
    number: Annotated[int, AtLeast(1)] = 1  # which of the random draws, counted from 1

    def text(self, seed: int) -> str:
        """Return, for example, "30 train and at most 50 test images of each class, draw 1, seed 0"."""
        return f"{self.sizes_text}, draw {self.number}, seed {seed}"

    @property
    def sizes_text(self) -> str:
        """Return, for example, "30 train and at most 50 test images of each class"."""
        return (
            f"{self.train} train and {f'at most {self.test}' if self.test else 'all other'} test images of each class"
        )


SPLIT_KINDS: Kinds = {Split: EntryTable("split", {kind.kind: kind for kind in (Share, Fold, Count)})}


@dataclass(frozen=True)
class Cut:
    """Settings for splitting data: a rule and a seed for data without splits, and a fraction for validation.

    They also include the arguments of `imclass.core.classes.choose_classes`, which chooses the classes.
    """

    rule: Split = Share()
    seed: int = 0
    validation: float = 0.0
    classes: tuple[str, ...] = ()  # the items of `Training.classes`
    old: tuple[str, ...] = ()  # the classes of the model to grow; empty: there is none

    @property
    def of_all_classes(self) -> "Cut":
        """Return the same settings, but without a choice of classes."""
        return replace(self, classes=(), old=())
