"""Checks and preparation of a run that fits a pipeline."""
# Tested in tests/app/fits/test_fit.py

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from imclass.app.runs.beginning import InitModel, open_init
from imclass.app.runs.directory import Plan, Run
from imclass.app.runs.material import TrainingData, check_resumable, open_fit_data
from imclass.app.runs.train import counts_of
from imclass.core.codec import to_json
from imclass.core.config import Execution, Fitting
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.model_file import Provenance
from imclass.core.runtime import Arithmetic, Runtime, library_versions, resolve_runtime
from imclass.models.arithmetic.eager import eager_engine
from imclass.pipelines.part import every_part
from imclass.pipelines.pipeline import Pipeline
from imclass.store.context import Context, pixels_in
from imclass.training.fits.fitter import TRAIN
from imclass.training.fits.job import FitJob
from imclass.training.kinds import kind_tables

NETWORK = "network"  # the name of the classifier in a part that needs one


@dataclass(frozen=True)
class FitRun:
    """A run that has passed all checks and is ready to begin or to be resumed."""

    run: Run
    job: FitJob
    execution: Execution
    held_out: Mapping[str, Dataset]
    notes: tuple[str, ...]  # for the user, printed before the fit

    @property
    def config(self) -> Fitting:
        """Return the run's config."""
        return self.job.config

    @property
    def runtime(self) -> Runtime:
        """Return the runtime of the parts that use a network."""
        return self.job.runtime

    @property
    def resolved(self) -> Mapping[str, int]:
        """Return an empty mapping, because a fit has no numbers of epochs to resolve."""
        return {}

    @property
    def record(self) -> dict[str, Any]:
        """Return the configuration as JSON, as a dry run prints it."""
        return {"fitting": to_json(self.config), "execution": to_json(self.execution)}


def prepare_fit(
    config: Fitting,
    run: Run,
    context: Context,
    execution: Execution,
    dry: bool = False,
    given: Collection[str] = (),
    preset: Runtime | None = None,
) -> FitRun:
    """Check a run, and prepare it to begin or to be resumed. Raise `UserError` if anything is invalid.

    If `dry` is true, nothing is written or downloaded. `given` contains the config keys that the user specified.
    `preset` is the runtime of a new run; by default it is that of this machine.
    """
    context = replace(context, max_pixels=pixels_in(config.max_megapixels))
    run = replace(run, kinds=kind_tables(context))
    source = open_source_network(config, context, dry)
    if source is not None:
        config = replace(config, init=source.name, init_digest=source.digest)
    config, data = open_fit_data(config, given, context)
    inside = run.location_notes(data.train)
    begun = plan_fit(run, config, execution, data)
    used = (
        begun.runtime
        or preset
        or replace(resolve_runtime(config.device), arithmetic=Arithmetic(config.precision, "nhwc"))
    )
    pipeline = make_pipeline(config, data, source, used)
    if not dry:
        run.begin(begun, used)
    splits = {TRAIN: data.train, **data.held_out}
    job = FitJob(
        config=config, pipeline=pipeline, splits=splits, context=context, runtime=used, workers=execution.workers
    )
    beginning = () if source is None or run.is_finished else source.notes
    return FitRun(run, job, execution, data.held_out, (*data.notes, *beginning, *inside))


def plan_fit(run: Run, config: Fitting, execution: Execution, data: TrainingData) -> Plan:
    """Return the content of config.json. Raise `UserError` if the folder has the results of another run."""
    begun = run.plan(config, execution, {}, data.facts, *counts_of(data))
    check_resumable(run, data.facts)
    return begun


def open_source_network(config: Fitting, context: Context, dry: bool) -> InitModel | None:
    """Return the model given by `init`.

    Raise `UserError` if a part needs a network and `init` is empty, or if no part needs one and it is not.
    """
    users = [part.kind for part in every_part(config.parts) if part.needs_network]
    if users and not config.init:
        raise UserError(
            f"the part {users[0]} uses a trained network; name one with --init MODEL, such as googlenet:bvlc or one of "
            "your runs"
        )
    if config.init and not users:
        kinds = ", ".join(part.kind for part in every_part(config.parts))
        raise UserError(f"--init {config.init} is not used: none of the parts ({kinds}) uses a network; leave it out")
    return open_init(config, context, dry)


def make_pipeline(config: Fitting, data: TrainingData, source: InitModel | None, used: Runtime) -> Pipeline:
    """Return the pipeline to fit, with copies of the config's parts, which stay as they are."""
    parts: tuple[Any, ...] = tuple(map(copy_part, config.parts))
    if source is not None:
        network = source.classifier.network.to(used.device)
        classifier = replace(source.classifier, engine=eager_engine(network, used.arithmetic))
        for part in every_part(parts):
            if part.needs_network:
                part.set_members({NETWORK: classifier})
    provenance = Provenance(
        data=data.facts, recipe=to_json(config), init=source.ancestor if source else None, chosen="fitted"
    )
    licence = source.classifier.licence if source else ""
    return Pipeline(
        parts,
        data.train.classes,
        trained=provenance,
        contents=np.sort(data.train.contents()),
        versions=library_versions(),
        licence=licence,
    )


def copy_part(value: Any) -> Any:
    """Return a copy of a part with the same settings, without anything that it has learned, at any depth."""
    if isinstance(value, tuple):
        return tuple(map(copy_part, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: copy_part(getattr(value, f.name)) for f in dataclasses.fields(value)})
    return value
