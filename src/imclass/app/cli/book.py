"""Progress in the formats of the PaddlePaddle book: those of its programs, and of its edition of 2016."""

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

from imclass.app.cli.progress import EpochSums, RefusalLines, TrainingProgress, unpaired_lines
from imclass.core.contracts import Refused
from imclass.core.errors import UserError, require
from imclass.core.text import measure_title, printable_text
from imclass.training.events import Consumer, EpochEnd, EpochStart, Evaluated, Event, NonFinite, Saved, StepEnd

LOG_PERIOD = 100  # steps


class BookLog:
    """A training log in the format used in the image classification chapter of the PaddlePaddle book.

    As in the book, the number after "Pass" is the step, and the number after "Batch" is the epoch. Both are counted
    from 0. Cost and accuracy are for one batch. Problems are printed on separate lines.
    """

    def __init__(self, period: int = LOG_PERIOD) -> None:
        self.period = period
        self.refusals = RefusalLines()

    def see(self, event: Event) -> None:
        """Print an event."""
        match event:
            case StepEnd():
                self.print_step(event)
                self.print_refused(event.refused)
                for line in unpaired_lines(event):
                    self.write(f"\n{line}\n")
            case Evaluated():
                self.print_evaluation(event)
                self.print_refused(event.result.refused)
            case NonFinite():
                self.write(f"\nstep {event.at.step:,}: {event.what} is not finite\n")
            case Saved(problem=problem) if problem:
                self.write(f"\nstep {event.at.step:,}: no checkpoint could be written ({printable_text(problem)})\n")

    def print_step(self, event: StepEnd) -> None:
        """Print a line for the first of every `period` steps in an epoch, and a dot for each of the others."""
        step = event.at.batch - 1
        if step % self.period:
            self.write(".")
            return
        share = event.correct / event.images if event.images else 0.0
        self.write("\nPass %d, Batch %d, Cost %f, Acc %f" % (step, event.at.epoch, event.main, share))  # noqa: UP031 as published

    def print_evaluation(self, event: Evaluated) -> None:
        """Print the loss and the main measure of a split after an epoch, to two significant digits."""
        result = event.result
        loss, share = result.measures["loss"], result.measures[result.main]
        name = "Acc" if result.main == "top1" else measure_title(result.main)
        self.write(f"\n{event.split.capitalize()} with Pass {event.at.epoch}, Loss {loss:2.2}, {name} {share:2.2}")

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


class BookLog2016(BookLog):
    """A training log in the format of the chapter's edition of 2016, as PaddlePaddle's program `paddle train` printed.

    After every `period` steps, a line has means over the images of the epoch so far (Avg, Eval), and over those since
    the last such line (Current). If training was resumed in the middle of an epoch, earlier steps are not included.
    The line of an epoch comes before those of its evaluations.
    """

    def __init__(self, period: int = LOG_PERIOD) -> None:
        super().__init__(period)
        self.epoch, self.current = EpochSums(), EpochSums()
        self.pending: list[Evaluated] = []  # of the epoch that is about to end
        self.in_line = False  # whether the last line has not been ended

    def see(self, event: Event) -> None:
        """Print an event."""
        match event:
            case EpochStart():
                self.epoch, self.current = EpochSums(event.counted), EpochSums(event.counted)
            case EpochEnd():
                self.print_epoch(event)
        super().see(event)

    def print_step(self, event: StepEnd) -> None:
        """Print a line after every `period` steps of an epoch, and a dot for each of the others."""
        self.epoch.add(event)
        self.current.add(event)
        if event.at.batch % self.period:
            self.write(".")
            return
        text = f"Batch={event.at.batch} samples={self.epoch.images} AvgCost={self.epoch.loss:g}"
        text += f" CurrentCost={self.current.loss:g} Eval: {evaluator_text(self.epoch.counted, self.epoch.share)} "
        text += f" CurrentEval: {evaluator_text(self.current.counted, self.current.share)}"
        self.write_line(f"TrainerInternal.cpp:165]  {text}")
        self.current = EpochSums(self.epoch.counted)

    def print_epoch(self, event: EpochEnd) -> None:
        """Print the line of an epoch, and then those of its evaluations."""
        evaluations = ", ".join(evaluator_text(name, share) for name, share in event.measures.items())
        text = f"Pass={event.at.epoch} Batch={event.at.batch} samples={event.images} AvgCost={event.main:g}"
        self.write_line(f"TrainerInternal.cpp:181]  {text} Eval: {evaluations}")
        for evaluated in self.pending:
            self.write_line(evaluation_line(evaluated))
        self.pending = []

    def print_evaluation(self, event: Evaluated) -> None:
        """Print the line of an evaluation. If it belongs to an epoch that is about to end, keep it until then."""
        if event.at.batch:
            self.pending.append(event)
        else:
            self.write_line(evaluation_line(event))

    def write_line(self, line: str) -> None:
        """Write a line, after the end of a line of dots."""
        self.write(("\n" if self.in_line else "") + line + "\n")

    def write(self, text: str) -> None:
        """Write to standard error without buffering."""
        self.in_line = not text.endswith("\n")
        super().write(text)

    def close(self) -> None:
        """End the last line, if it is not ended."""
        if self.in_line:
            self.write("\n")


def evaluation_line(event: Evaluated) -> str:
    """Return a line with the number of images, the loss and the main measure of a split."""
    result = event.result
    evaluation = evaluator_text(result.main, result.measures[result.main])
    text = f"{event.split.capitalize()} samples={len(result.targets)} cost={result.measures['loss']:g}"
    return f"Tester.cpp:115]  {text} Eval: {evaluation}"


def evaluator_text(measure: str, share: float) -> str:
    """Return a measure under PaddlePaddle's name for it. For top-1 accuracy, this is the error."""
    if measure == "top1":
        return f"classification_error_evaluator={1 - share:g}"
    return f"{measure_title(measure)}={share:g}"


CONSOLE_LOGS: Mapping[str, Callable[[int], BookLog]] = MappingProxyType({"book": BookLog, "book-2016": BookLog2016})


def check_period(style: str, period: int | None) -> None:
    """Raise `UserError` for a log period below 1, or for one that the style does not use."""
    require(period is None or period >= 1, "log_period", period, "at least 1 step")
    if period is not None and style not in CONSOLE_LOGS:
        raise UserError(f"--log-period applies to --style {' and '.join(CONSOLE_LOGS)}; choose one, or leave it out")


def progress_consumer(style: str, period: int | None, steps: int, done: int) -> Consumer:
    """Return the consumer that shows the progress of a run of `steps` steps, of which `done` are done."""
    if style in CONSOLE_LOGS:
        return CONSOLE_LOGS[style](period or LOG_PERIOD)
    return TrainingProgress(steps, done)
