"""Optional consumers of a run, such as pictures, TensorBoard and progress. Training continues if they fail."""

import sys
from collections.abc import Callable

from imclass.core.text import printable_text
from imclass.training.events import Consumer, Event


class OptionalConsumer:
    """A consumer that may fail, even when it is created. The first failure is printed, and training continues."""

    def __init__(self, what: str, make: Callable[[], Consumer]) -> None:
        self.what, self.failed = what, False
        self.consumer: Consumer | None = None
        self.attempt(lambda: setattr(self, "consumer", make()))

    def see(self, event: Event) -> None:
        """Pass an event to the consumer, if it could be created."""
        if consumer := self.consumer:
            self.attempt(lambda: consumer.see(event))

    def close(self) -> None:
        """Close the consumer, if it could be created."""
        if consumer := self.consumer:
            self.attempt(consumer.close)

    def attempt(self, act: Callable[[], object]) -> None:
        """Call `act`, and print the first failure of the consumer."""
        try:
            act()
        except Exception as error:
            if not self.failed:
                note_failure(f"{self.what} failed", error, "training continues")
            self.failed = True


def note_failure(what: str, error: Exception, consequence: str) -> None:
    """Print a failure, its cause, and its consequence or fix on one line."""
    why = (str(error) or type(error).__name__).splitlines()[0]
    print(f"note: {what} ({printable_text(why)}); {consequence}", file=sys.stderr)
