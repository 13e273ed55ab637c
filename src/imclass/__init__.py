"""Image classification from bag of words to residual networks.

for event in imclass.train("mnist-lenet", out="runs/lenet"): ...
imclass.load("runs/lenet").predict(images)
imclass.create("lenet-5", classes=[...])
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any

EVENTS = ("EpochEnd", "EpochStart", "Evaluated", "NonFinite", "Saved", "StepEnd")
HOMES: Mapping[str, str] = MappingProxyType(
    {
        "configure": "imclass.app.train",
        "create": "imclass.models.classifier",
        "load": "imclass.app.load",
        "BadImage": "imclass.core.errors",
        "Interrupted": "imclass.core.errors",
        "UserError": "imclass.core.errors",
        **dict.fromkeys(EVENTS, "imclass.train.events"),
    }
)


class Package(ModuleType):
    """The public verbs, imported when they are first used, so that `import imclass` costs nothing.

    `imclass.train` is the verb, though a room bears the same name: `from imclass.train import loop` reaches that.
    """

    @property
    def train(self) -> Any:
        """`imclass.app.train.train`."""
        return import_module("imclass.app.train").train

    @train.setter
    def train(self, room: ModuleType) -> None:
        """The import system names each submodule in its package; this name is taken."""

    def __getattr__(self, name: str) -> Any:
        if name not in HOMES:
            raise AttributeError(f"module 'imclass' has no attribute {name!r}")
        return getattr(import_module(HOMES[name]), name)

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), "train", *HOMES])


sys.modules[__name__].__class__ = Package
