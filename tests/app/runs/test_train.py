"""Training as the app does it: prepared, watched, chosen by measurement, stopped by a signal."""

from pathlib import Path

from imclass.app.api import train
from imclass.training.events import Event
from tests.support.small import tree


def test_users_may_watch_too(tmp_path: Path) -> None:
    """A consumer of one's own sees what the loop yields, and is closed."""

    class Watcher:
        def __init__(self) -> None:
            self.seen: list[Event] = []
            self.closed = False

        def see(self, event: Event) -> None:
            self.seen.append(event)

        def close(self) -> None:
            self.closed = True

    watcher, pets = Watcher(), tree(tmp_path / "pets")
    yielded = list(train("mnist-lenet", tmp_path / "run", consumers=[watcher], data=str(pets), epochs=1, batch=8))
    assert watcher.seen == yielded[:-1]  # the last is the model file
    assert watcher.closed
