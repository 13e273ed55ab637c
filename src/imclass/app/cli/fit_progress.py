"""Progress of the fit of a pipeline, shown on standard error."""
# Tested in tests/app/fits/test_fit.py

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from imclass.app.cli.progress import RefusalLines, clock_text, measure_text
from imclass.core.text import duration_text
from imclass.training.events import Evaluated, Event, PartFitted, TaskProgress


class FitProgressBar:
    """A progress bar for the current task, and a line for each finished one. Without a terminal, only the lines."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False)
        columns = (TextColumn("{task.percentage:3.0f}%"), BarColumn(bar_width=20), TextColumn("{task.description}"))
        live = self.console.is_terminal
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not live)
        self.task: TaskID = self.bar.add_task("", total=1)
        self.refusals = RefusalLines()
        self.bar.start()

    def see(self, event: Event) -> None:
        """Show an event."""
        match event:
            case TaskProgress():
                self.bar.update(self.task, completed=event.done, total=event.total, description=task_text(event))
                for line in self.refusals.lines(event.refused):
                    self.print_line(line)
                if event.done >= event.total and event.unit == "images":
                    self.print_line(finished_text(event))
            case PartFitted():
                self.print_line(part_text(event))
            case Evaluated():
                for line in self.refusals.lines(event.result.refused):
                    self.print_line(line)
                self.print_line(measure_text(event.split, event.result.measures, event.result.main))

    def print_line(self, line: str) -> None:
        """Print a line above the bar."""
        self.console.print(line, markup=False, soft_wrap=not self.console.is_terminal)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.stop()


def task_text(event: TaskProgress) -> str:
    """Return the text next to the bar: the task, its count, its rate and the time left."""
    text = f"{event.task}: {event.done:,} of {event.total:,} {event.unit}"
    done = event.computed if event.unit == "images" else event.done
    if not done or event.seconds <= 0:
        return text
    rate = done / event.seconds
    shown = f"  {rate:,.1f} images/s" if event.unit == "images" else ""
    return f"{text}{shown}  left {clock_text((event.total - event.done) / rate)}"


def finished_text(event: TaskProgress) -> str:
    """Return the line for a finished task of images."""
    if not event.computed:
        return f"{event.task}: {event.total:,} images, all in the store"
    rate = event.computed / max(1e-9, event.seconds)
    stored = event.total - event.computed
    known = f" ({stored:,} of them in the store)" if stored else ""
    return f"{event.task}: {event.total:,} images{known} in {duration_text(event.seconds)}, {rate:,.1f} images/s"


def part_text(event: PartFitted) -> str:
    """Return the line for a fitted part, with the values that it chose."""
    facts = [f"{name} {value:g}" for name, value in event.facts.items() if isinstance(value, int | float)]
    chosen = f": {', '.join(facts)}" if facts else ""
    how = "from the store" if event.stored else f"in {duration_text(event.seconds)}"
    return f"fit {event.part} {how}{chosen}"
