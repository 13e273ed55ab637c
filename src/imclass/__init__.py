"""Image classification from bag of words to residual networks.

for event in imclass.train("mnist-lenet", out="runs/lenet"): ...
print(imclass.evaluate("runs/lenet"))
for prediction in imclass.predict("runs/lenet", "photos"): ...

docs/python.md describes every public name.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

EVENTS = (
    "DivisionEnd", "EpochEnd", "EpochStart", "Evaluated", "FeatureBatch", "LegEnd", "NonFinite", "Saved", "Solved",
    "StepEnd", "StepStart",
)  # fmt: skip
HOMES: Mapping[str, str] = MappingProxyType(
    {
        "compare": "imclass.app.api",
        "configure": "imclass.app.api",
        "create": "imclass.app.api",
        "evaluate": "imclass.app.api",
        "explain": "imclass.app.api",
        "features": "imclass.app.api",
        "load": "imclass.app.api",
        "predict": "imclass.app.api",
        "report": "imclass.app.api",
        "runs": "imclass.app.api",
        "train": "imclass.app.api",
        "BadImage": "imclass.core.errors",
        "Interrupted": "imclass.core.errors",
        "UserError": "imclass.core.errors",
        **dict.fromkeys(EVENTS, "imclass.training.events"),
    }
)

__all__ = tuple(HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import imclass` itself loads nothing heavy (PEP 562)."""
    if name not in HOMES:
        raise AttributeError(f"module 'imclass' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names and the other names in this module."""
    return sorted({*globals(), *HOMES})
