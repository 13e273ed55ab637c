"""Refusal of several processes: training is done by one, and torchrun may start more."""

import contextlib
import os
import time

from imclass.core.errors import Interrupted, UserError

PRINT_SECONDS = 10.0  # torchrun ends all processes when one has ended, so the others give the first time to print


def check_single_process() -> None:
    """Raise `UserError` in a process that torchrun started with others."""
    if is_multiprocess():
        raise UserError(
            "training is done by one process, and torchrun started several. Give the command without torchrun: one "
            "process uses all cores, or the GPU that --device names"
        )


def wait_for_first() -> bool:
    """Let the first of several processes print its message. Return whether this is one of the others."""
    if is_multiprocess() and os.environ.get("RANK", "0") != "0":
        with contextlib.suppress(Interrupted):  # torchrun stops the others with SIGTERM; one message is enough
            time.sleep(PRINT_SECONDS)
        return True
    return False


def is_multiprocess() -> bool:
    """Return whether torchrun started more than one process. Raise `UserError` if WORLD_SIZE is not a number."""
    if not os.environ.get("WORLD_SIZE"):
        return False
    from imclass.core.runtime import world_size  # imports torch, which --help does not need

    return world_size() > 1
