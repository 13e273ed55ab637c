"""Image classification from bag of words to residual networks.

    for event in imclass.train("mnist-lenet", out="runs/lenet"): ...
    imclass.load("runs/lenet").predict(images)
    imclass.create("lenet-5", classes=[...])
"""

from typing import Any

EVENTS = ("EpochEnd", "EpochStart", "Evaluated", "NonFinite", "Saved", "StepEnd")
HOMES = {
    "train": "imclass.app.train",
    "configure": "imclass.app.train",
    "load": "imclass.models.classifier",
    "create": "imclass.models.classifier",
} | dict.fromkeys(EVENTS, "imclass.train.events")
__all__ = [*sorted(HOMES)]


def __getattr__(name: str) -> Any:
    """The public verbs, imported when they are first used, so that `import imclass` costs nothing."""
    if name not in HOMES:
        raise AttributeError(f"module 'imclass' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(HOMES[name]), name)
