"""What each verb does with its arguments: call the rooms below, print a table or a record, return the exit code."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imclass.app import arguments, listing, networks
from imclass.app.arguments import DONE, SOME_REFUSED
from imclass.app.book_style import Book
from imclass.app.checks import check_target, check_workers, store_of
from imclass.app.compare import compared
from imclass.app.evaluate import Told, told_of, write_files
from imclass.app.evaluate import evaluate as score
from imclass.app.features import features as features_of
from imclass.app.features import maps
from imclass.app.inputs import gather
from imclass.app.load import load, load_network
from imclass.app.options import Order
from imclass.app.plots import grid, grid_png, is_drawn
from imclass.app.predict import as_csv, as_json, as_table, as_trained
from imclass.app.predict import predict as predictions
from imclass.app.progress import Screen
from imclass.app.published import info as published_info
from imclass.app.published import is_published
from imclass.app.report import is_report, write_report
from imclass.app.run import Run
from imclass.app.train import perform, prepare
from imclass.app.weights import ACTS, act, table
from imclass.core.codec import to_json
from imclass.core.errors import UserError
from imclass.core.files import begins, replacing
from imclass.core.text import nearest, printable
from imclass.evaluation.request import member_of
from imclass.evaluation.score import protocols
from imclass.training import loop
from imclass.training.events import Consumer, Evaluated, NonFinite, Saved, StepEnd


def show(record: Any) -> None:
    """One JSON record on standard output."""
    print(json.dumps(record, indent=2))


def train(order: Order) -> int:
    """Train with progress on standard error, and the result on standard output."""
    own, config = order.own, order.config
    run = Run(own.out or Path("runs") / config.recipe)
    job = prepare(config, run, store_of(own.common), own.common.plugins, dry=own.dry_run)
    for note in job.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    if own.dry_run:
        show(to_json(job.task.config))
        return DONE
    if not run.finished:
        where = "goes on" if job.checkpoint else "begins"
        print(f"{config.recipe} on {config.data} {where} in {run.folder}: {job.task.runtime}", file=sys.stderr)
    refused: set[str] = set()
    steps = sum(len(loader) * stage.epochs for loader, stage in zip(job.task.loaders, config.stages, strict=True))
    done = job.checkpoint.record["at"]["step"] if job.checkpoint else 0
    for event in perform(job, [] if run.finished else [screen(own.style, steps, done)]):
        match event:
            case StepEnd():
                refused |= {r.path for r in event.refused}
            case Evaluated():
                refused |= {r.path for r in event.result.refused}
            case NonFinite(action="stop"):
                raise UserError(stopped(event, run))
            case Saved(problem=problem, path=path) if problem and event.at.stage > loop.last_stage(job.task):
                raise UserError(
                    f"the last checkpoint {path} could not be written: {problem}; make room and give the command again"
                )
    if not (run.folder / "report.html").is_file():
        write_report(run, run.folder / "report.html", store_of(own.common), own.common.plugins, config.workers)
    return report_run(run, own.common, refused)


def screen(style: str, steps: int, done: int) -> Consumer:
    """What shows progress on standard error."""
    return Book() if style == "book" else Screen(steps, done)


def stopped(event: NonFinite, run: Run) -> str:
    """Why training stopped by itself, and what to do."""
    names = ", ".join(event.names[:10]) + (f" and {len(event.names) - 10} more" if len(event.names) > 10 else "")
    return (
        f"step {event.at.step:,}: {event.what} is not finite, so training stopped; the checkpoints in {run.folder} are "
        f"from before.\nimages of the step: {names}\nLower --schedule.rate, or pass over such steps with --nonfinite "
        "skip (in another --out)"
    )


def report_run(run: Run, common: arguments.Common, refused: set[str]) -> int:
    """Say what a finished run came to."""
    header = load_network(run.model, common.plugins).header
    assert header is not None
    if common.json:
        show(
            {
                "run": str(run.folder),
                "model": str(run.model),
                "chosen": header.chosen,
                "metrics": header.metrics,
                "refused": sorted(refused),
            }
        )
    else:
        for split, result in header.metrics.items():
            counted, loss = accounted(result), f"{result['loss']:.4f}"
            chose = ", which chose the weights" if split in header.chosen else ""
            print(f"{split}{chose}: top-1 {100 * result['top1']:.2f} %, cross-entropy {loss}; {counted}")
        if refused:
            print(f"refused in all: {len(refused):,} {'file' if len(refused) == 1 else 'files'}")
        print(f"finished: {run.model} ({header.chosen})")
    left_out = any(result["evaluated"] < result["total"] for result in header.metrics.values())
    return SOME_REFUSED if refused or left_out else DONE


def accounted(metrics: Mapping[str, Any]) -> str:
    """How many images of a split were scored and how many refused, from a model file's metrics."""
    evaluated, total = metrics["evaluated"], metrics["total"]
    kept = f"{evaluated:,} of {total:,} evaluated"
    return f"{kept}, {total - evaluated:,} refused" if evaluated < total else kept


def evaluate(own: arguments.Evaluate) -> int:
    """Score models on a split, alone and fused."""
    result = score(own)
    try:
        return tell(told_of(own, result) if result else None, own.common)
    finally:  # where the disk is full, the result has been told; where nobody reads it any more, there are the files
        if result:
            write_files(own, result)


def compare(own: arguments.Compare) -> int:
    """Say whether one of two models is better on the same images."""
    return tell(compared(own), own.common)


def tell(told: Told | None, common: arguments.Common) -> int:
    """Print what a verb has to tell; processes other than the first have nothing."""
    if told is None:
        return DONE
    show(told.record) if common.json else print(told.text)
    return SOME_REFUSED if told.refused else DONE


def predict(own: arguments.Predict) -> int:
    """Name what is in images."""
    if own.top < 1:
        raise UserError(f"--top is {own.top}; it must be at least 1")
    if own.common.json and own.format == "csv":
        raise UserError("--json and --format csv are two forms; give one of them")
    if own.protocol is not None and "," in own.protocol:
        raise UserError(f"--protocol {own.protocol} names several; an image is named under one")
    check_workers(own.workers)
    files = gather(own.paths)
    classifier = load(own.model, own.common.plugins, store_of(own.common))
    protocol = protocols(own.common.plugins)[own.protocol] if own.protocol else None
    member = member_of(str(own.model), classifier, protocol)
    form = "json" if own.common.json else own.format
    found = predictions(member, as_trained, files, own.top, workers=own.workers)
    if form == "csv":
        print("path,rank,class,probability")
    refused, gathered = 0, []
    for prediction in found:
        if prediction.refused:
            refused += 1
            print(f"refused: {printable(prediction.path)}: {printable(prediction.refused.detail)}", file=sys.stderr)
        if form == "json":
            gathered.append(as_json(prediction))
        elif form == "csv":
            print(as_csv(prediction), end="")
        elif not prediction.refused:
            print(as_table(prediction))
    if form == "json":
        show(gathered)
    return SOME_REFUSED if refused else DONE


def features(own: arguments.Features) -> int:
    """Write or draw what a layer gives out."""
    if own.out is None and own.grid is None:
        raise UserError("say where the features go: --out FILE.npy for the numbers, --grid FILE.png for the maps")
    check_workers(own.workers)
    check_target(own.out, "--out", ".npy", lambda path: begins(path, b"\x93NUMPY"))
    check_target(own.grid, "--grid", ".png", is_drawn)
    files = gather(own.paths)
    found = features_of(
        load_network(own.model, own.common.plugins, store_of(own.common)), files, own.layer, workers=own.workers
    )
    for refused in found.refused:
        print(f"refused: {printable(refused.path)}: {printable(refused.detail)}", file=sys.stderr)
    picture = grid(maps(found)) if own.grid else None
    if own.out:
        import numpy

        with replacing(own.out) as file:
            numpy.save(file, found.outputs, allow_pickle=False)
    if own.grid:
        grid_png(maps(found), own.grid)
    shape = list(found.outputs.shape)
    if own.common.json:
        drawn = list(picture.shape) if picture is not None else None
        show(
            {
                "layer": found.layer,
                "shape": shape,
                "grid": drawn,
                "paths": found.paths,
                "refused": to_json(found.refused),
            }
        )
    else:
        print(
            f"{found.layer}: {' x '.join(map(str, shape))}"
            + "".join(f"\n{printable(str(p))}" for p in (own.out, own.grid) if p)
        )
    return SOME_REFUSED if found.refused else DONE


def report(own: arguments.Report) -> int:
    """Write a finished run's page."""
    check_workers(own.workers)
    check_target(own.out, "--out", ".html", is_report)
    run = Run(own.run)
    path = write_report(
        run, own.out or run.folder / "report.html", store_of(own.common), own.common.plugins, own.workers
    )
    show({"report": str(path)}) if own.common.json else print(printable(str(path)))
    return DONE


def info(own: arguments.Info) -> int:
    """Say what a model file holds."""
    if is_published(own.model):
        record = published_info(str(own.model), store_of(own.common), own.common.plugins)
    else:
        record = listing.info(own.model, own.common.plugins)
    show(record) if own.common.json else print(listing.plain(record))
    return DONE


def models(own: arguments.Models) -> int:
    """List networks, or one with its layers."""
    plugins = own.common.plugins
    found, failures = networks.one(own.name, plugins) if own.name else networks.everything(plugins)
    for failure in failures:
        print(f"note: not usable: {failure}", file=sys.stderr)
    if own.common.json:
        show(found)
    else:
        print(networks.comparison(found) if isinstance(found, list) else networks.in_detail(found))
    return DONE


def recipes(own: arguments.Recipes) -> int:
    """List recipes."""
    return listed(listing.recipes(own.common.plugins), own.name, "recipe", own.common)


def listed(
    found: listing.Listing, name: str | None, what: str, common: arguments.Common, acts: Sequence[str] = ()
) -> int:
    """A table of all, or one entry in detail; an unknown name may have been meant for one of `acts`."""
    for failure in found.failures:
        print(f"note: not usable: {failure}", file=sys.stderr)
    if name is None:
        show(found.rows) if common.json else print(listing.table(found.rows))
        return DONE
    chosen = next((row for row in found.rows if row["name"] == name), None)
    if chosen is None:
        raise UserError(f"no {what} is named {name!r}{nearest(name, [*(row['name'] for row in found.rows), *acts])}")
    detail = chosen | found.details(name)
    show(detail) if common.json else print(listing.plain(detail))
    return DONE


def data(own: arguments.Data) -> int:
    """List, fetch, check or export data sets."""
    acts = {"get": listing.get, "check": listing.check, "export": listing.export}
    if own.what not in acts:
        return listed(listing.datasets(own.common.plugins), own.what, "data set", own.common, tuple(acts))
    if own.name is None:
        raise UserError(f"name a data set: imclass data {own.what} NAME")
    check_workers(own.workers)
    record = acts[own.what](own.name, own, store_of(own.common))
    show(record) if own.common.json else print(listing.plain(record))
    return SOME_REFUSED if record.get("refused") else DONE


def weights(own: arguments.Weights) -> int:
    """List published weights, or take weights in, look at them, give them out."""
    if own.what not in ACTS:
        return listed(table(), own.what, "published file of weights", own.common, ACTS)
    outcome = act(own)
    show(outcome.record) if own.common.json else print(outcome.text)
    return outcome.code
