"""A picture, a page, TensorBoard or progress may fail: the failure is printed once, and the run is not affected."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from imclass.app.acts import outcome
from imclass.app.cli.main import main
from imclass.app.draw import curves
from imclass.app.runs import train
from imclass.app.runs.watchers.expendable import OptionalConsumer
from imclass.app.verbs import train as verb
from imclass.training.events import Consumer
from tests.support.events import events
from tests.support.small import digest, tree


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("data") / "pets")


def words(pets: Path, out: Path) -> list[str]:
    return ["train", "mnist-lenet", "--data", str(pets), "--epochs", "2", "--batch", "8", "--out", str(out)]


@pytest.fixture(scope="module")
def sound(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the digest of a run without failures."""
    out = tmp_path_factory.mktemp("runs") / "sound"
    assert main(words(pets, out)) == 0
    return digest(out)


def fail(*given: Any, **named: Any) -> Any:
    raise RuntimeError("a fault\nof ours")


def fail_at_once(patched: pytest.MonkeyPatch) -> None:
    """Keep TensorBoard from being imported."""
    patched.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)


def fail_while_seeing(patched: pytest.MonkeyPatch) -> None:
    """Let TensorBoard fail at every event and when it is closed."""
    close = train.TensorBoard.close
    patched.setattr(train.TensorBoard, "add", fail)
    patched.setattr(train.TensorBoard, "close", lambda board: (close(board), fail()))


def fail_to_draw(patched: pytest.MonkeyPatch) -> None:
    """Let every picture fail."""
    patched.setattr(curves, "curves_png", fail)
    patched.setattr(train, "Curves", partial(train.Curves, every=0.0))  # after each epoch, not only at the end


def fail_to_show(patched: pytest.MonkeyPatch) -> None:
    """Let the bar fail."""
    patched.setattr(verb, "progress_consumer", fail)


def fail_to_report(patched: pytest.MonkeyPatch) -> None:
    """Let the report fail."""
    patched.setattr(outcome, "write_report", fail)


FAILURES: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    fail_at_once: "writing TensorBoard's log failed (",
    fail_while_seeing: "writing TensorBoard's log failed (a fault)",
    fail_to_draw: "drawing curves.png failed (a fault)",
    fail_to_show: "showing the progress failed (a fault)",
    fail_to_report: "report.html was not written (a fault); try again with: imclass report ",
}


@pytest.mark.parametrize("failing", FAILURES)
def test_a_failure_does_not_affect_the_run(
    failing: Callable[[pytest.MonkeyPatch], None], pets: Path, sound: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    failing(monkeypatch)
    assert main(words(pets, tmp_path / "run")) == 0
    assert digest(tmp_path / "run") == sound
    notes = [line for line in capsys.readouterr().err.splitlines() if "failed (" in line or "not written (" in line]
    assert len(notes) == 1 and notes[0].startswith("note: ") and FAILURES[failing] in notes[0]


def test_a_failing_log_ends_a_run(pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that only optional consumers may fail."""
    monkeypatch.setattr(train.Log, "see", fail)
    assert main(words(pets, tmp_path / "run")) == 70
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_ctrl_c_is_not_suppressed() -> None:
    class Pressed:
        def see(self, event: object) -> None:
            raise KeyboardInterrupt

        def close(self) -> None:
            pass

    consumer = OptionalConsumer("the picture", Pressed)
    assert isinstance(consumer, Consumer)
    with pytest.raises(KeyboardInterrupt):
        consumer.see(events()[0])
