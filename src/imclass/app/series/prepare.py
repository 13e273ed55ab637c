"""Checks and preparation of a series of runs."""
# Tested in tests/app/series/test_crossval.py

from collections.abc import Collection
from dataclasses import replace

from imclass.app.runs.beginning import classes_to_grow, open_init
from imclass.app.runs.directory import Plan, Run
from imclass.app.runs.material import check_resumable
from imclass.app.runs.train import DEFAULT_EXECUTION, Measured, class_counts
from imclass.app.series.crossval import CrossValidation
from imclass.app.series.division import DivisionJob, open_division, prepare_division
from imclass.app.series.repeats import RepeatedSplits
from imclass.app.series.series import DividedData, RunSeries, division_config
from imclass.app.settings.series import Crossval
from imclass.core.config import Execution, RunConfig, Training
from imclass.models.classifier import networks
from imclass.store.context import Context, pixels_in
from imclass.training.kinds import kind_tables
from imclass.training.plan import resolve_models


def prepare_series(
    config: RunConfig,
    run: Run,
    context: Context,
    execution: Execution = DEFAULT_EXECUTION,
    dry: bool = False,
    given: Collection[str] = (),
) -> RunSeries:
    """Check and prepare the series `run.series`. Raise `UserError` if anything is invalid.

    The arguments are those of `prepare`.
    """
    if run.series is None:
        raise ValueError(f"{run} is a single run")
    run.series.check(config.split, given)
    kind: type[RunSeries] = CrossValidation if isinstance(run.series, Crossval) else RepeatedSplits
    sized = replace(context, max_pixels=pixels_in(config.max_megapixels))
    old: tuple[str, ...] = ()
    if isinstance(config, Training) and config.grow:
        old = classes_to_grow(config, open_init(config, sized, dry))
    config, notes = settle_series(config, run, given, sized, old)
    data = kind.open(config, run.series, notes, sized, old)
    run = replace(run, kinds=kind_tables(context))
    config = resolve_models(config, context) if isinstance(config, Training) else config
    begun = plan_series(run, config, execution, data, context)
    check_resumable(run, data.facts)
    first: DivisionJob | None = None
    if not run.is_finished:
        division = division_config(config, run, 1)
        preset = None
        if begun.runtime is not None and begun.resolved is not None:
            preset = Measured(begun.runtime, begun.resolved)
        first = prepare_division(division, run.divisions[0], context, execution, dry, given, preset)
        if not dry:
            run.begin(begun, first.runtime, resolved=first.resolved)
    return kind(run, config, execution, sized, given, data, first)


def settle_series(
    config: RunConfig, run: Run, given: Collection[str], context: Context, old: tuple[str, ...] = ()
) -> tuple[RunConfig, tuple[str, ...]]:
    """Return the config, adapted to the division with the fewest training images, and the notes on the data.

    All runs then have the same stages and batches, although some have one image more than others. `old` contains the
    classes of a growing model.
    """
    configs = (division_config(config, run, number) for number in range(1, len(run.divisions) + 1))
    each = [open_division(one, given, context, old) for one in configs]
    smallest = min(each, key=lambda one: (stage_count(one[0]), len(one[1].train)))[0]
    settled = replace(smallest, split=config.split)
    # The notes on a division that would be adapted differently are not true of the series.
    same = (data for one, data in each if replace(one, split=config.split) == settled)
    return settled, tuple(dict.fromkeys(note for data in same for note in data.notes))


def stage_count(config: RunConfig) -> int:
    """Return the number of stages of training, or 0 for the fit of a pipeline."""
    return len(config.stages) if isinstance(config, Training) else 0


def plan_series(run: Run, config: RunConfig, execution: Execution, data: DividedData, context: Context) -> Plan:
    """Return the content of the series' config.json. Raise `UserError` if `run` has other results."""
    row = networks(context)[config.model.network].row if isinstance(config, Training) else {}
    counts = {split: class_counts(part).tolist() for split, part in data.splits.items()}
    images = {split: len(part) for split, part in data.splits.items()}
    return run.plan(config, execution, row, data.facts, counts, images)
