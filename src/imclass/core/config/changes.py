"""Differences between two configs that a comparison of their fields does not find or cannot explain."""
# Tested in tests/app/runs/test_directory.py

from imclass.core.config.fitting import Fitting
from imclass.core.config.training import Training


def init_changes(before: Training | Fitting, after: Training | Fitting) -> list[str]:
    """Return a line if both configs have the same `init`, but the weights of that model have changed."""
    old, new = before.init_digest, after.init_digest
    if before.init != after.init or old == new:
        return []
    return [f"init: the SHA-256 of the tensors of {after.init} was {old[:12]} and is now {new[:12]}"]


def rate_order_changes(before: Training, after: Training) -> list[str]:
    """Return a line for each stage whose rates differ only in order. The order matters: the last match applies."""
    pairs = enumerate(zip(before.stages, after.stages, strict=False))
    return [
        f"stages.{i}.rates: {', '.join(old.rates)} before, {', '.join(new.rates)} now"
        for i, (old, new) in pairs
        if old.rates == new.rates and [*old.rates] != [*new.rates]
    ]
