"""How many processes torchrun started. Nothing here imports torch."""

import os

from imclass.core.errors import UserError


def world_size() -> int:
    """Return how many processes torchrun started, 1 where it started none; raise `UserError` for another value."""
    value = os.environ.get("WORLD_SIZE") or "1"
    if not value.isdecimal() or int(value) < 1:
        raise UserError(
            f"the environment variable WORLD_SIZE is {value!r}; torchrun sets it to a number of processes, so unset it"
        )
    return int(value)


def check_launched() -> None:
    """Raise `UserError` where WORLD_SIZE stands without the variables that torchrun sets with it."""
    lacking = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if lacking:
        raise UserError(
            f"the environment variable WORLD_SIZE is {os.environ['WORLD_SIZE']!r} and {lacking[0]} is not set; "
            "torchrun sets both, so start this with torchrun, or unset WORLD_SIZE"
        )
