"""The performance of a series of runs, one after the other."""
# Tested in tests/app/series/test_crossval.py

import contextlib
from collections.abc import Generator, Iterator, Sequence

from imclass.app.series.division import perform_division
from imclass.app.series.results import division_row
from imclass.app.series.series import RunSeries
from imclass.training.events import Consumer, DivisionEnd, Event, RunPosition


def perform_series(series: RunSeries, consumers: Sequence[Consumer] = ()) -> Generator[Event, None, None]:
    """Perform all runs, yield each event after all consumers have seen it, and finish the series.

    A finished series yields nothing.
    """
    with contextlib.ExitStack() as stack:
        for consumer in consumers:
            stack.callback(consumer.close)
        for event in series_events(series):
            for consumer in consumers:
                consumer.see(event)
            yield event


def series_events(series: RunSeries) -> Iterator[Event]:
    """Yield the events of all runs, with a `DivisionEnd` after each, then finish. End if a run is stopped."""
    run = series.run
    for number, job in enumerate(series.jobs(), 1):
        at = RunPosition()
        with contextlib.closing(perform_division(job)) as events:
            for event in events:
                at = event.at
                yield event
        if not job.run.is_finished:
            return
        yield DivisionEnd(at, number, len(run.divisions), job.run.folder, division_row(run, number).evaluation)
    if not run.is_finished:
        series.finish()
