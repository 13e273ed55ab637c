"""Progress on a terminal: time left, loss, accuracy, rate and the share of time spent waiting for data; counts."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from imclass.core.contracts import Refused
from imclass.core.text import main_measure, measure_title, printable_text
from imclass.training.events import EpochEnd, EpochStart, Evaluated, Event, LegEnd, NonFinite, Saved, StepEnd

WIDE_TERMINAL = 110  # columns of a terminal from which the bar has room for rate and waiting


class EvaluationProgress:
    """An evaluation on standard error: notes, what is scored; on a terminal how much of it, the rate, the time left.

    It is a context, whose end removes the bar.
    """

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False)
        columns = (TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task: TaskID | None = None
        self.began = 0.0

    def __enter__(self) -> "EvaluationProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def note(self, text: str) -> None:
        """Print a sentence that the user should know."""
        self.say(f"note: {printable_text(text)}")

    def begin(self, what: str) -> None:
        """Print what is about to be scored."""
        self.say(f"evaluating {printable_text(what)}")

    def count(self, what: str, done: int, total: int) -> None:
        """Show how many images are done; the bar goes when all are."""
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

    def say(self, line: str) -> None:
        """Print one line on standard error, above the bar."""
        self.console.print(line, markup=False, soft_wrap=True)


@dataclass
class EpochSums:
    """What this process has seen of an epoch: all of it, unless the run went on in the middle."""

    counted: str = "top1"  # the measure that is the share of correct images
    images: int = 0
    correct: int = 0
    main: float = 0.0
    total: float = 0.0
    waited: float = 0.0
    seconds: float = 0.0
    held_out: list[str] = field(default_factory=list)

    def add(self, event: StepEnd) -> None:
        """One more step."""
        self.images += event.images
        self.correct += event.correct
        self.main += event.main * event.images
        self.total += event.total * event.images
        self.waited += event.waited
        self.seconds += event.seconds

    @property
    def learned(self) -> str:
        """Means over the images so far."""
        n = max(1, self.images)
        return means_text(self.main / n, {self.counted: self.correct / n}, self.total / n)

    @property
    def rate(self) -> str:
        return f"{self.images / max(1e-9, self.seconds):,.0f} images/s"

    @property
    def waiting(self) -> str:
        """The share of time in which there were no images to learn from."""
        return f"waited {100 * self.waited / max(1e-9, self.seconds):.0f} %"


def means_text(main: float, measures: Mapping[str, float], total: float) -> str:
    """Return an epoch's means in words."""
    more = f" (+ {total - main:.4f} auxiliary)" if total != main else ""
    shares = [f"{measure_title(name)} {100 * share:.2f} %" for name, share in measures.items()]
    return "  ".join([f"loss {main:.4f}{more}", *shares])


def main_measure_text(split: str, measures: Mapping[str, float]) -> str:
    """Return the main measure of a split in words; top-1 accuracy, of which each line begins, is not named again."""
    main = main_measure(measures)
    name = "" if main == "top1" else f"{measure_title(main)} "
    return f"{split} {name}{100 * measures[main]:.2f} %"


def unpaired_lines(event: StepEnd) -> Iterator[str]:
    """Yield a line that names the images that a step left out, each the only one left of its part, if there are any."""
    if event.alone:
        names = printable_text(", ".join(event.alone))
        yield f"step {event.at.step:,}: left out, as batch norm needs two images of a part: {names}"


class RefusalLines:
    """The files that a run leaves out, each of which is named once."""

    def __init__(self) -> None:
        self.named: set[str] = set()

    def lines(self, refused: Iterable[Refused]) -> Iterator[str]:
        """Yield a line for each file that has none yet."""
        for one in refused:
            if one.path not in self.named:
                self.named.add(one.path)
                yield f"left out: {printable_text(f'{one.path}: {one.detail} ({one.code})')}"


class TrainingProgress:
    """A bar over the whole run and a line an epoch; plain lines where the output is no terminal."""

    def __init__(self, total_steps: int, done_steps: int) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False)
        columns = (
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
        )
        live = self.console.is_terminal
        self.columns: float = self.console.width if live else math.inf
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not live)
        self.total, self.first, self.began = total_steps, done_steps, time.monotonic()
        self.task: TaskID = self.bar.add_task("", total=total_steps, completed=done_steps)
        self.sums, self.epochs, self.unsaved = EpochSums(), 0, False
        self.left_out = RefusalLines()
        self.bar.start()

    def see(self, event: Event) -> None:
        """Show what happened."""
        match event:
            case EpochStart():
                self.sums, self.epochs = EpochSums(event.counted), event.epochs
            case StepEnd():
                self.sums.add(event)
                self.bar.update(self.task, completed=event.at.step, description=self.now(event.at.epoch))
                self.refuse(event.refused)
                for line in unpaired_lines(event):
                    self.say(line)
            case Evaluated():
                self.sums.held_out.append(
                    main_measure_text(event.split, event.result.measures) + " (best)" * event.best
                )
                self.refuse(event.result.refused)
            case EpochEnd():
                self.say(self.line(event))
            case LegEnd(name=name, metrics=metrics, path=path) if path.parent.parent.name == "legs":
                scores = ", ".join(main_measure_text(split, scored) for split, scored in metrics.items())
                self.say(f"leg {printable_text(name)} ended: {scores}; {printable_text(str(path))}")
            case NonFinite():
                names = printable_text(", ".join(event.names[:10]))
                self.say(f"step {event.at.step:,}: {event.what} is not finite; images: {names}")
            case Saved(problem=problem) if bool(problem) != self.unsaved:  # once for a disk that stays full
                self.unsaved = bool(problem)
                failed = f"no checkpoint could be written ({problem}); training goes on"
                self.say(f"step {event.at.step:,}: {failed if problem else 'checkpoints can be written again'}")

    def head(self, epoch: int) -> str:
        """Which epoch, of how many."""
        return f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"

    def now(self, epoch: int) -> str:
        """What stands beside the bar."""
        parts = [self.head(epoch), self.sums.learned]
        return "  ".join(parts + [self.sums.rate, self.sums.waiting] * (self.columns >= WIDE_TERMINAL))

    def line(self, event: EpochEnd) -> str:
        """What stays on the screen of an epoch; the waiting, then the rate give way where it would not fit.

        There is no pace where this process went on with an epoch whose steps were all done.
        """
        sums, learned = self.sums, means_text(event.main, event.measures, event.total)
        start = [self.head(event.at.epoch), learned, *sums.held_out]
        if not sums.seconds:
            return "  ".join(start)
        end = [f"left {self.left(event.at.step)}"]
        lines = ["  ".join(start + more + end) for more in ([sums.rate, sums.waiting], [sums.rate], [])]
        return next((line for line in lines if len(line) <= self.columns), lines[-1])

    def left(self, step: int) -> str:
        """Time left at the pace since this process began."""
        done = max(1, step - self.first)
        seconds = round((time.monotonic() - self.began) / done * (self.total - step))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    def refuse(self, refused: Iterable[Refused]) -> None:
        """Name the files that were left out."""
        for line in self.left_out.lines(refused):
            self.say(line)

    def say(self, line: str) -> None:
        """One line above the bar."""
        self.console.print(line, markup=False, soft_wrap=not self.console.is_terminal)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.stop()
