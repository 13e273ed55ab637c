"""What a run can do without: pictures, pages, TensorBoard and progress may fail, and training goes on."""

import sys
from collections.abc import Callable

from imclass.core.text import printable_text
from imclass.training.events import Consumer, Event


class OptionalConsumer:
    """A consumer that may fail, when it is made too: the first failure is printed, and none ends training."""

    def __init__(self, what: str, make: Callable[[], Consumer]) -> None:
        self.what, self.failed = what, False
        self.consumer: Consumer | None = None
        self.attempt(lambda: setattr(self, "consumer", make()))

    def see(self, event: Event) -> None:
        """Show the event to the consumer, if it could be made."""
        if consumer := self.consumer:
            self.attempt(lambda: consumer.see(event))

    def close(self) -> None:
        """Close the consumer, if it could be made."""
        if consumer := self.consumer:
            self.attempt(consumer.close)

    def attempt(self, act: Callable[[], object]) -> None:
        """Do something that may fail."""
        try:
            act()
        except Exception as error:
            if not self.failed:
                note_failure(f"{self.what} failed", error, "training goes on without it")
            self.failed = True


def note_failure(what: str, error: Exception, rest: str) -> None:
    """Print in one line what failed, why, and what comes of it."""
    why = (str(error) or type(error).__name__).splitlines()[0]
    print(f"note: {what} ({printable_text(why)}); {rest}", file=sys.stderr)
