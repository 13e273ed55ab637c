"""Training is done by one process: several that torchrun starts are refused before each begins."""

import os
import time

from imclass.core.errors import UserError

PRINT_SECONDS = 10.0  # seconds: torchrun ends all others when one has ended, and the first has something to print


def check_single_process() -> None:
    """Raise `UserError` in a process that torchrun started with others."""
    if is_multiprocess():
        raise UserError(
            "training is done by one process, and torchrun started several; give the command without torchrun: it "
            "uses all cores, or the GPU that --device names"
        )


def wait_for_first() -> bool:
    """Let the first of several processes print its message; return whether this is one of the others."""
    if is_multiprocess() and os.environ.get("RANK", "0") != "0":
        time.sleep(PRINT_SECONDS)
        return True
    return False


def is_multiprocess() -> bool:
    """Return whether torchrun started more than one process; raise `UserError` where WORLD_SIZE is no number."""
    if not os.environ.get("WORLD_SIZE"):
        return False
    from imclass.core.runtime import world_size  # not above, because it imports torch, which --help can do without

    return world_size() > 1
