"""Signals that end a run: the first saves and stops, a later one stops at once, wherever the run is."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from imclass.core.errors import Interrupted

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds within which signals count as one. A terminal that closes, `timeout`, and wrappers that pass on a Ctrl-C which
# the terminal sends to all of its processes deliver it twice, which must not cost the steps since the last checkpoint.
REPEAT_SECONDS = 0.5

Acknowledge = Callable[[str], None]


@dataclass
class StopRequest:
    """Whether signals have asked a run to stop, and whether the run has started.

    The run sets `started` once there is something new to save. Until then the first signal ends it at once.
    """

    asked_at: float | None = None
    started: bool = False

    def asked(self) -> bool:
        """Return whether the run should save and stop."""
        return self.asked_at is not None


@contextlib.contextmanager
def listen_for_signals(acknowledge: Acknowledge | None = None, kept: Callable[[], str] = str) -> Iterator[StopRequest]:
    """Yield a `Stop` that Ctrl-C, SIGTERM and SIGHUP set while the block runs.

    The handler raises `Interrupted` for a first signal before the run has `started`, and for one that comes more than
    half a second after the first; `kept()` is added to the message. For any other signal it calls `acknowledge` with a
    line for the user.
    """
    stop = StopRequest()

    def answer(number: int, frame: FrameType | None) -> None:
        now, first = time.monotonic(), stop.asked_at is None
        if stop.asked_at is not None and now - stop.asked_at < REPEAT_SECONDS:
            return
        if first:
            stop.asked_at = now
        if not stop.started:
            raise Interrupted("; ".join(filter(None, ("stopped before the first step", kept()))))
        if not first:
            raise Interrupted("; ".join(filter(None, ("stopped at once", kept()))))
        if acknowledge is not None:
            acknowledge(acknowledgement(number))

    with handle_signals(answer):
        yield stop


@contextlib.contextmanager
def interrupt_at_signals() -> Iterator[None]:
    """Raise `Interrupted` at Ctrl-C, SIGTERM and SIGHUP while the block runs.

    A plain `KeyboardInterrupt` would do for Ctrl-C, but where one passes through `exec`, as it does while dataclasses
    are made, Python dies of the signal even though it was caught.
    """
    asked_at = -REPEAT_SECONDS

    def answer(number: int, frame: FrameType | None) -> None:
        nonlocal asked_at
        now = time.monotonic()
        if now - asked_at >= REPEAT_SECONDS:
            asked_at = now
            raise Interrupted("interrupted")

    with handle_signals(answer):
        yield


@contextlib.contextmanager
def handle_signals(answer: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let `answer` handle the signals that end a run while the block runs.

    A signal that is already ignored stays ignored, as `nohup` and shells with background jobs ask for.
    Outside the main thread signals are left alone.
    """
    here = threading.current_thread() is threading.main_thread()
    heard = [s for s in STOP_SIGNALS if here and signal.getsignal(s) is not signal.SIG_IGN]
    before = {s: signal.signal(s, answer) for s in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def acknowledgement(number: int) -> str:
    """Return the line that the user reads at the first signal."""
    if number == signal.SIGINT:
        return "Ctrl-C: saving after this step; press it again to stop at once without saving"
    return f"{signal.Signals(number).name}: saving after this step; a second signal stops at once without saving"
