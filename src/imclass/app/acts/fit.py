"""The fit of a pipeline with its progress."""
# Tested in tests/app/fits/test_fit.py

import contextlib
from collections.abc import Callable, Sequence

from imclass.app.fits.perform import perform_fit
from imclass.app.fits.prepare import FitRun
from imclass.app.runs.signals import Acknowledge
from imclass.app.runs.watchers.expendable import OptionalConsumer
from imclass.training.events import Consumer


def run_fit(
    fit: FitRun,
    show: Callable[[], Consumer],
    print_line: Callable[[str], None],
    acknowledge: Acknowledge,
    watching: Sequence[Consumer] = (),
) -> None:
    """Fit a pipeline to the end, unless the run is finished. `show` makes the consumer that shows the progress.

    The consumers in `watching` see the events, too.
    """
    progress = []
    if not fit.run.is_finished:
        print_line(f"fitting {fit.config.recipe} on {fit.config.data} in {fit.run.folder}: {fit.job.runtime}")
        progress = [OptionalConsumer("showing the progress", show)]
    with contextlib.closing(perform_fit(fit, [*progress, *watching], acknowledge)) as events:
        for _ in events:
            pass
