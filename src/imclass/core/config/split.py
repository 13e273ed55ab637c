"""Rules for dividing a data set into training, validation and test images."""
# Tested in tests/core/test_config.py

from dataclasses import dataclass
from typing import Annotated, ClassVar

from imclass.core.bounds import Above, Below


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
