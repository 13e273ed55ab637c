"""The handlers of signals by themselves; `test_interrupt.py` sends signals to real processes."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imclass.app.runs import signals
from imclass.app.runs.signals import REPEAT_SECONDS, STOP_SIGNALS, interrupt_at_signals, listen_for_signals
from imclass.core.errors import Interrupted


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Replace the time by one that a test sets, and restore signal handlers after the test."""
    now = [0.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    before = [signal.signal(number, signal.default_int_handler) for number in STOP_SIGNALS]
    yield now
    for number, handler in zip(STOP_SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_first_signal_is_acknowledged_and_the_next_one_stops_at_once(number: int, clock: list[float]) -> None:
    lines: list[str] = []
    with listen_for_signals(lines.append, lambda: "there is a checkpoint") as stop:
        stop.started = True
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set() and len(lines) == 1
        clock[0] = REPEAT_SECONDS / 2  # one press that is delivered twice
        signal.raise_signal(signal.SIGHUP)
        clock[0] = REPEAT_SECONDS
        with pytest.raises(Interrupted, match=r"^stopped at once; there is a checkpoint$"):
            signal.raise_signal(number)
    assert lines == [signals.acknowledgement(number)]
    assert signal.getsignal(number) is signal.default_int_handler


def test_the_acknowledgement_explains_a_second_signal() -> None:
    interrupted, hung_up = map(signals.acknowledgement, (signal.SIGINT, signal.SIGHUP))
    assert interrupted.startswith("Ctrl-C: saving after this step; press Ctrl-C again to stop at once")
    assert hung_up.startswith("SIGHUP: saving after this step; a second signal stops at once")


def test_a_run_with_nothing_to_save_ends_at_once(clock: list[float]) -> None:
    lines: list[str] = []
    with listen_for_signals(lines.append) as stop:
        with pytest.raises(Interrupted, match=r"^stopped before the first step$"):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # the same one, delivered twice while it ends
        assert stop.is_set() and not lines


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_each_of_the_signals_ends_other_commands(number: int, clock: list[float]) -> None:
    with interrupt_at_signals():
        with pytest.raises(Interrupted, match=r"^interrupted$"):
            signal.raise_signal(number)
        signal.raise_signal(number)  # delivered twice
        clock[0] = REPEAT_SECONDS
        with pytest.raises(Interrupted):
            signal.raise_signal(number)
    assert signal.getsignal(number) is signal.default_int_handler


@pytest.mark.parametrize(("raised", "code"), [("KeyboardInterrupt", -signal.SIGINT), ("Interrupted", 75)])
def test_an_interrupt_within_exec_keeps_the_exit_code(raised: str, code: int, tmp_path: Path) -> None:
    """Show with a twin that a `KeyboardInterrupt` loses it."""
    text = "import sys\nfrom imclass.core.errors import Interrupted\ntry:\n    exec('raise ' + sys.argv[1])\n"
    text += "except KeyboardInterrupt:\n    sys.exit(75)"
    (tmp_path / "ending.py").write_text(text)
    found = subprocess.run([sys.executable, "-m", "ending", raised], cwd=tmp_path, check=False)
    assert found.returncode == code


def test_a_signal_needs_no_acknowledgement(clock: list[float]) -> None:
    with listen_for_signals() as stop:
        stop.started = True
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()


def test_an_ignored_signal_stays_ignored(clock: list[float]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with listen_for_signals() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop.is_set()


def test_outside_the_main_thread_signals_are_left_alone(clock: list[float]) -> None:
    found: list[Any] = []

    def run() -> None:
        with listen_for_signals() as stop:
            found.extend([signal.getsignal(signal.SIGINT), stop.is_set()])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler, False]
