"""Optional consumers of a run: pictures, TensorBoard and progress may fail without ending training."""

import sys
from collections.abc import Callable

from imclass.core.text import printable_text
from imclass.training.events import Consumer, Event


class OptionalConsumer:
    """A consumer that may fail, even during its creation. The first failure is printed, and training continues."""

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
                note_failure(f"{self.what} failed", error, "training continues without it")
            self.failed = True


def note_failure(what: str, error: Exception, consequence: str) -> None:
    """Print one line with the failure, its cause, and its consequence or fix."""
    why = (str(error) or type(error).__name__).splitlines()[0]
    print(f"note: {what} ({printable_text(why)}); {consequence}", file=sys.stderr)
