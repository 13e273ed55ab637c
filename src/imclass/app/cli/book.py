"""Progress in the format of the PaddlePaddle book: a line every hundred steps, and a dot for each step in between."""

import sys

from imclass.app.cli.progress import RefusalLines, unpaired_lines
from imclass.core.contracts import Refused
from imclass.core.text import measure_title, printable_text
from imclass.training.events import Evaluated, Event, NonFinite, Saved, StepEnd

STEPS_PER_LINE = 100  # steps


class BookLog:
    """A training log in the format used in the image classification chapter of the PaddlePaddle book.

    As in the book, the number after "Pass" is the step, and the number after "Batch" is the epoch. Both are counted
    from 0. Cost and accuracy are for one batch. Problems are printed on separate lines.
    """

    def __init__(self) -> None:
        self.refusals = RefusalLines()

    def see(self, event: Event) -> None:
        """Print an event."""
        match event:
            case StepEnd():
                self.write(book_step(event))
                self.print_refused(event.refused)
                for line in unpaired_lines(event):
                    self.write(f"\n{line}\n")
            case Evaluated():
                self.write(book_test(event))
                self.print_refused(event.result.refused)
            case NonFinite():
                self.write(f"\nstep {event.at.step:,}: {event.what} is not finite\n")
            case Saved(problem=problem) if problem:
                self.write(f"\nstep {event.at.step:,}: no checkpoint could be written ({printable_text(problem)})\n")

    def print_refused(self, refused: tuple[Refused, ...]) -> None:
        """Print a line for each file that was left out and has not been listed yet."""
        for line in self.refusals.lines(refused):
            self.write(f"\n{line}\n")

    def write(self, text: str) -> None:
        """Write to standard error without buffering, so that dots appear one by one."""
        print(text, end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the last line."""
        self.write("\n")


def book_step(event: StepEnd) -> str:
    """Return the text for a step: a line for the first of every hundred steps in an epoch, and a dot for the others."""
    step = event.at.batch - 1
    if step % STEPS_PER_LINE:
        return "."
    share = event.correct / event.images if event.images else 0.0
    return "\nPass %d, Batch %d, Cost %f, Acc %f" % (step, event.at.epoch, event.main, share)  # noqa: UP031 as published


def book_test(event: Evaluated) -> str:
    """Return a line with the loss and the main measure of a split after an epoch, to two significant digits."""
    result = event.result
    loss, share = result.measures["loss"], result.measures[result.main]
    name = "Acc" if result.main == "top1" else measure_title(result.main)
    return f"\n{event.split.capitalize()} with Pass {event.at.epoch}, Loss {loss:2.2}, {name} {share:2.2}"
