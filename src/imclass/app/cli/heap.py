"""Where the C library keeps memory that threads allocate: one heap for all of them."""

import ctypes
import sys

ARENA_MAX = -8  # mallopt(3)


def share_heap() -> bool:
    """Let all threads of this process allocate from one heap, and return whether that was possible (glibc alone can).

    glibc gives each thread a heap, and what a thread frees there no other one uses again. The threads that decode
    images thus keep up to 150 MB of a run on a folder of photos. Threads that have a heap keep it, so this comes first.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return bool(mallopt and mallopt(ARENA_MAX, 1))
