"""Progress of evaluation and training, shown on standard error.

During training, it includes the loss, accuracy, images per second, time spent waiting for images, and time left.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from imclass.core.contracts import Refused
from imclass.core.text import main_measure, measure_title, printable_text
from imclass.training.events import (
    EpochEnd,
    EpochStart,
    Evaluated,
    Event,
    FeatureBatch,
    LegEnd,
    NonFinite,
    Saved,
    Solved,
    StepEnd,
)

WIDE_TERMINAL = 110  # minimum columns for a bar that shows the rate and the waiting time


class EvaluationProgress:
    """The progress of an evaluation: notes and, on a terminal, a bar with the image count, rate and time left.

    When used as a context manager, it removes the bar on exit.
    """

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False)
        columns = (TextColumn("{task.percentage:3.0f}%"), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task: TaskID | None = None
        self.began = 0.0

    def __enter__(self) -> "EvaluationProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def note(self, text: str) -> None:
        """Print a note."""
        self.print_line(f"note: {printable_text(text)}")

    def begin(self, what: str) -> None:
        """Print a description of the images to be scored next."""
        self.print_line(f"evaluating {printable_text(what)}")

    def count(self, what: str, done: int, total: int) -> None:
        """Show how many images have been scored. Remove the bar after the last image."""
        if self.bar.disable:
            return
        if self.task is None:
            self.began = time.monotonic()
            self.task = self.bar.add_task(what)
            self.bar.start()
        rate = done / max(1e-9, time.monotonic() - self.began)
        text = f"{what}: {done:,} of {total:,}, {rate:,.1f} images/s"
        self.bar.update(self.task, completed=done, total=total, description=text)
        if done >= total:
            self.bar.stop()
            self.bar.remove_task(self.task)
            self.task = None

    def print_line(self, line: str) -> None:
        """Print a line on standard error, above the bar."""
        self.console.print(line, markup=False, soft_wrap=True)


@dataclass
class EpochSums:
    """Sums over the steps that this process has run in the current epoch.

    If training was resumed in the middle of the epoch, earlier steps are not included.
    """

    counted: str = "top1"  # the name of the measure for the fraction of correct images
    images: int = 0
    computed: int = 0  # the number of images whose features were computed
    correct: int = 0
    main: float = 0.0
    total: float = 0.0
    waited: float = 0.0
    seconds: float = 0.0
    held_out: list[str] = field(default_factory=list)

    def add(self, event: StepEnd) -> None:
        """Add a step."""
        self.images += event.images
        self.correct += event.correct
        self.main += event.main * event.images
        self.total += event.total * event.images
        self.waited += event.waited
        self.seconds += event.seconds

    @property
    def loss(self) -> float:
        """The mean loss over the images processed so far."""
        return self.main / max(1, self.images)

    @property
    def share(self) -> float:
        """The fraction of correct images among those processed so far."""
        return self.correct / max(1, self.images)

    @property
    def means(self) -> str:
        """The mean loss and measure over the images processed so far, as text."""
        return means_text(self.loss, {self.counted: self.share}, self.total / max(1, self.images))

    @property
    def rate(self) -> str:
        return f"{self.images / max(1e-9, self.seconds):,.0f} images/s"

    @property
    def waiting(self) -> str:
        """The percentage of time spent waiting for images, as text."""
        return f"waited {100 * self.waited / max(1e-9, self.seconds):.0f}%"


def means_text(main: float, measures: Mapping[str, float], total: float) -> str:
    """Return the mean loss and measures of an epoch as text."""
    more = f" (+ {total - main:.4f} auxiliary)" if total != main else ""
    shares = [f"{measure_title(name)} {100 * share:.2f}%" for name, share in measures.items()]
    return "  ".join([f"loss {main:.4f}{more}", *shares])


def measure_text(split: str, measures: Mapping[str, float], main: str) -> str:
    """Return the measure `main` of a split as text. The name of the measure is omitted for top-1 accuracy."""
    name = "" if main == "top1" else f"{measure_title(main)} "
    return f"{split} {name}{100 * measures[main]:.2f}%"


def unpaired_lines(event: StepEnd) -> Iterator[str]:
    """Yield a line that lists any images left out of a step because each was alone in its part of the batch."""
    if event.alone:
        names = printable_text(", ".join(event.alone))
        yield f"step {event.at.step:,}: left out, because batch norm needs two images in each part of a batch: {names}"


class RefusalLines:
    """Lines for the files that a run leaves out. Each file is listed once."""

    def __init__(self) -> None:
        self.listed: set[str] = set()

    def lines(self, refused: Iterable[Refused]) -> Iterator[str]:
        """Yield a line for each file that has not been listed yet."""
        for file in refused:
            if file.path not in self.listed:
                self.listed.add(file.path)
                yield f"left out: {printable_text(f'{file.path}: {file.detail} ({file.code})')}"


def clock_text(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def solved_line(event: Solved) -> str:
    """Return a line with the values that a solver chose."""
    facts = [f"{name} {value:g}" for name, value in event.facts.items() if isinstance(value, int | float)]
    return f"{event.solver} was fitted to the features of {event.images:,} images: {', '.join(facts)}"


class TrainingProgress:
    """A progress bar for the entire run, and one line per epoch. Without a terminal, only the lines are printed."""

    def __init__(self, total_steps: int, done_steps: int) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False)
        columns = (
            TextColumn("{task.percentage:3.0f}%"),
            TimeRemainingColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
        )
        live = self.console.is_terminal
        self.columns: float = self.console.width if live else math.inf
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not live)
        self.total_steps = total_steps
        self.first_step = done_steps  # the step at which this process started
        self.began = time.monotonic()
        self.task: TaskID = self.bar.add_task("", total=total_steps, completed=done_steps)
        self.sums = EpochSums()
        self.epochs = 0
        self.unsaved = False  # the last checkpoint could not be written
        self.refusals = RefusalLines()
        self.bar.start()

    def see(self, event: Event) -> None:
        """Show an event."""
        match event:
            case EpochStart():
                self.sums, self.epochs = EpochSums(event.counted), event.epochs
            case StepEnd():
                self.sums.add(event)
                self.bar.update(self.task, completed=event.at.step, description=self.bar_text(event.at.epoch))
                self.print_refused(event.refused)
                for line in unpaired_lines(event):
                    self.print_line(line)
            case FeatureBatch():
                self.sums.computed += event.images
                self.sums.seconds += event.seconds
                self.bar.update(self.task, description=self.features_text(event))
                self.print_refused(event.refused)
            case Solved():
                self.print_line(solved_line(event))
                self.sums, self.first_step, self.began = EpochSums(self.sums.counted), event.at.step, time.monotonic()
            case Evaluated():
                text = measure_text(event.split, event.result.measures, event.result.main)
                self.sums.held_out.append(f"{text} (best)" if event.best else text)
                self.print_refused(event.result.refused)
            case EpochEnd():
                self.print_line(self.epoch_line(event))
            case LegEnd(name=name, metrics=metrics, path=path) if path.parent.parent.name == "legs":
                scores = ", ".join(
                    measure_text(split, scored, main_measure(scored)) for split, scored in metrics.items()
                )
                self.print_line(f"leg {printable_text(name)} ended: {scores}; {printable_text(str(path))}")
            case NonFinite():
                names = printable_text(", ".join(event.names[:10]))
                self.print_line(f"step {event.at.step:,}: {event.what} is not finite; images: {names}")
            case Saved(problem=problem) if bool(problem) != self.unsaved:  # printed only when this changes
                self.unsaved = bool(problem)
                failed = f"no checkpoint could be written ({problem}); training continues"
                self.print_line(f"step {event.at.step:,}: {failed if problem else 'checkpoints can be written again'}")

    def epoch_label(self, epoch: int) -> str:
        """Return "epoch 3/30", padded so that labels align."""
        return f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"

    def bar_text(self, epoch: int) -> str:
        """Return the text next to the bar."""
        parts = [self.epoch_label(epoch), self.sums.means]
        if self.columns >= WIDE_TERMINAL:
            parts += [self.sums.rate, self.sums.waiting]
        return "  ".join(parts)

    def features_text(self, event: FeatureBatch) -> str:
        """Return the number of images whose features have been computed, the rate, and the time left."""
        rate = self.sums.computed / max(1e-9, self.sums.seconds)
        left = clock_text((event.total - event.done) / max(1e-9, rate))
        return f"features of {event.done:,} of {event.total:,} images  {rate:,.0f} images/s  left {left}"

    def epoch_line(self, event: EpochEnd) -> str:
        """Return the line for a finished epoch.

        If the terminal is too narrow, the waiting time is left out first, then the rate. If training was resumed after
        the last step of the epoch, both are unknown, as is the time left, and none of the three is shown.
        """
        sums = self.sums
        means = means_text(event.main, event.measures, event.total)
        start = [self.epoch_label(event.at.epoch), means, *sums.held_out]
        if not sums.seconds:
            return "  ".join(start)
        end = [f"left {self.time_left(event.at.step)}"]
        lines = ["  ".join(start + more + end) for more in ([sums.rate, sums.waiting], [sums.rate], [])]
        return next((line for line in lines if len(line) <= self.columns), lines[-1])

    def time_left(self, step: int) -> str:
        """Return the time left, estimated from the average speed of this process."""
        done = max(1, step - self.first_step)
        return clock_text((time.monotonic() - self.began) / done * (self.total_steps - step))

    def print_refused(self, refused: Iterable[Refused]) -> None:
        """Print a line for each file that was left out and has not been listed yet."""
        for line in self.refusals.lines(refused):
            self.print_line(line)

    def print_line(self, line: str) -> None:
        """Print a line above the bar."""
        self.console.print(line, markup=False, soft_wrap=not self.console.is_terminal)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.stop()
