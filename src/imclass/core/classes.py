"""Class names are the contract: data and models are joined by name, never by index."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from imclass.core.errors import UserError, nearest


def check_classes(classes: Sequence[str], where: str) -> None:
    """At least two classes, each named once, none twins by case; otherwise a `UserError` that names them."""
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise UserError(f"{where}: a classifier needs at least two classes, and there is {found}; one folder a class")
    twice = [name for name, n in Counter(classes).items() if n > 1]
    if twice:
        raise UserError(f"{where}: class {twice[0]!r} is named twice; give each class one name")
    folded: dict[str, str] = {}
    for name in classes:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            raise UserError(f"{where}: classes {other!r} and {name!r} differ only in case; rename or merge one")


def join(
    data: Sequence[str], model: Sequence[str], mapping: Mapping[str, str] | None = None, where: str = "the data"
) -> Int64[np.ndarray, "K"]:
    """For each class of the data its index among the model's classes.

    Without `mapping` (data name to model name) both must name the same set, in any order. A difference is a
    `UserError` that lists what is missing and what is extra.
    """
    named = [mapping.get(name, name) if mapping else name for name in data]
    extra = [name for name in named if name not in set(model)]
    missing = [name for name in model if name not in set(named)]
    if extra or (missing and mapping is None):
        raise UserError(
            f"{where} and the model do not name the same classes."
            + (f" Not in the model: {listed(extra)}{nearest(extra[0], missing)}." if extra else "")
            + (f" Not in {where}: {listed(missing)}." if missing else "")
            + " Rename the classes, or give a mapping with --classes FILE (JSON, data name to model name)"
        )
    index = {name: i for i, name in enumerate(model)}
    return np.array([index[name] for name in named], np.int64)


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names in quotes, the first `most` of them and how many more."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def best(scores: Float[Tensor, "N K"], classes: Sequence[str], top: int) -> list[list[tuple[str, float]]]:
    """The `top` classes (all, where there are fewer) of each row of log-scores with their probabilities, best first."""
    found = scores.softmax(1).topk(min(top, len(classes)), dim=1)
    return [
        [(classes[k], p) for p, k in zip(values, indices, strict=True)]
        for values, indices in zip(found.values.tolist(), found.indices.tolist(), strict=True)
    ]
