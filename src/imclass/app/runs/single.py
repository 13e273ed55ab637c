"""A check that there is only one process. Training uses one, but torchrun may start several."""

import contextlib
import os
import time

from imclass.core.errors import Interrupted, UserError

PRINT_SECONDS = 10.0  # torchrun ends all processes as soon as one ends, so the others wait until the first has printed


def check_single_process() -> None:
    """Raise `UserError` if torchrun started more than one process."""
    if is_multiprocess():
        raise UserError(
            "training uses one process, but torchrun started several. Run the command without torchrun: one process "
            "uses all cores, or the GPU chosen with --device"
        )


def wait_for_first() -> bool:
    """Wait in all processes but the first, so that the first can print its message. Return whether this one waited."""
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
