"""Rules for dividing a data set into training, validation and test images."""
# Tested in tests/core/test_config.py

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from imclass.core.bounds import Above, Below


@dataclass(frozen=True)
class Share:
    """A rule for a folder without splits: hold out a fraction of each class for testing, and train on the rest."""

    kind: ClassVar[str] = "share"
    test: Annotated[float, Above(0), Below(1)] = 0.2  # fraction of each class, rounded; at least 1 image, never all


@dataclass(frozen=True)
class Cut:
    """Settings for splitting data: a rule and a seed for data without splits, and a fraction for validation.

    They include the choice of classes, as in `imclass.core.classes.choose_classes`.
    """

    rule: Share = Share()
    seed: int = 0
    validation: float = 0.0
    classes: tuple[str, ...] = ()  # the items of `Training.classes`
    old: tuple[str, ...] = ()  # the classes of the model that grows; empty: no model grows

    @property
    def of_all_classes(self) -> "Cut":
        """The same rule for data with the classes that it comes with."""
        return replace(self, classes=(), old=())
