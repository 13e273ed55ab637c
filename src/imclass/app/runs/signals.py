"""Signals that end a run. The first makes the run save and stop; a later one stops it immediately."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from imclass.core.errors import Interrupted

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Signals within this many seconds count as one. A closing terminal, `timeout`, or a wrapper that forwards Ctrl-C may
# send a signal twice, which must not lose the steps since the last checkpoint.
REPEAT_SECONDS = 0.5

Acknowledge = Callable[[str], None]


@dataclass
class StopRequest:
    """A request to stop a run, made by a signal.

    The run sets `started` when it has something new to save. Until then, even the first signal ends the run at once.
    """

    requested_at: float | None = None
    started: bool = False

    def is_set(self) -> bool:
        """Return whether the run should save and stop."""
        return self.requested_at is not None


@contextlib.contextmanager
def listen_for_signals(
    acknowledge: Acknowledge | None = None, checkpoint_note: Callable[[], str] = str
) -> Iterator[StopRequest]:
    """Yield a `StopRequest` that is set by Ctrl-C, SIGTERM or SIGHUP while the block runs.

    If the run has `started` when the first signal arrives, the handler calls `acknowledge` with a line for the user.
    Otherwise the handler raises `Interrupted`. It also raises `Interrupted` for a later signal, unless that signal
    arrives within half a second of the first. The message of `Interrupted` ends with `checkpoint_note()`.
    """
    stop = StopRequest()

    def answer(number: int, frame: FrameType | None) -> None:
        now, first = time.monotonic(), stop.requested_at is None
        if stop.requested_at is not None and now - stop.requested_at < REPEAT_SECONDS:
            return
        if first:
            stop.requested_at = now
        if not stop.started:
            raise Interrupted("; ".join(filter(None, ("stopped before the first step", checkpoint_note()))))
        if not first:
            raise Interrupted("; ".join(filter(None, ("stopped at once", checkpoint_note()))))
        if acknowledge is not None:
            acknowledge(acknowledgement(number))

    with handle_signals(answer):
        yield stop


@contextlib.contextmanager
def interrupt_at_signals() -> Iterator[None]:
    """Raise `Interrupted` on Ctrl-C, SIGTERM and SIGHUP while the block runs.

    Python's `KeyboardInterrupt` is not enough for Ctrl-C: if that exception passes through `exec`, as may happen while
    dataclasses are created, the signal kills Python even if the exception is caught.
    """
    last = -REPEAT_SECONDS

    def answer(number: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPEAT_SECONDS:
            last = now
            raise Interrupted("interrupted")

    with handle_signals(answer):
        yield


@contextlib.contextmanager
def handle_signals(answer: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Make `answer` the handler of the signals that end a run, for the duration of the block.

    A signal that is already ignored stays ignored, as `nohup` and background jobs require. Outside the main thread,
    where Python cannot set handlers, nothing changes.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    handled = [s for s in STOP_SIGNALS if in_main_thread and signal.getsignal(s) is not signal.SIG_IGN]
    earlier = {s: signal.signal(s, answer) for s in handled}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def acknowledgement(number: int) -> str:
    """Return the line to print at the first signal."""
    if number == signal.SIGINT:
        return "Ctrl-C: saving after this step; press Ctrl-C again to stop at once without saving"
    return f"{signal.Signals(number).name}: saving after this step; a second signal stops at once without saving"
