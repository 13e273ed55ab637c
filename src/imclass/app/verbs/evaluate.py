"""The verb `evaluate`: what is scored, how it is told, and which files come of it."""

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from imclass.app.cli.answer import Told, say, tell
from imclass.app.cli.arguments import Evaluate
from imclass.app.cli.checks import check_target, check_workers, context_of, mapping_in
from imclass.app.draw.canvas import is_drawn
from imclass.app.draw.confusion import confusion_png
from imclass.app.draw.reliability import reliability_png
from imclass.app.load import load
from imclass.app.runs.progress import counting
from imclass.app.text import evaluation as tables
from imclass.core.codec import to_json
from imclass.core.errors import UserError, need
from imclass.core.model_file import Metrics, Provenance
from imclass.core.runtime import Arithmetic, device_of, versions
from imclass.core.targets import labels_of
from imclass.core.text import printable
from imclass.data.catalog import folder_not_read
from imclass.evaluation.measures.calibration import reliability
from imclass.evaluation.papers import render as papers
from imclass.evaluation.request import AS_TRAINED, Blend, Request, Scored, looks, score
from imclass.evaluation.results import Row, changed, is_scores, save_scores, saved_row
from imclass.evaluation.unpack import save as save_model
from imclass.models.classifier import model_file
from imclass.store.context import Context


def evaluate(own: Evaluate, context: Context) -> Scored | None:
    """Score models under protocols, and fused. Under torchrun all processes share the images; the first has all."""
    check(own, context)
    return perform(requested(own, context), context, own.device)


def told_of(own: Evaluate, result: Scored) -> Told:
    """The last row in full and all rows in short, or the paper's table that was asked for."""
    last = result.rows[-1].evaluation
    if own.table is None:
        return Told(record(own, result), text(own, result), bool(last.refused))
    table = paper_table(own.table, own, result)
    print(last.accounted, file=sys.stderr)
    return Told(record(own, result) | {"table": table}, table.rstrip("\n"), bool(last.refused))


def check(own: Evaluate, context: Context) -> None:
    """Options that cannot be, each a `UserError`."""
    check_workers(own.workers)
    need(own.changed >= 0, "changed", own.changed, "0 or more images")
    check_target(own.plot, "--plot", ".png", is_drawn)
    check_target(own.reliability, "--reliability", ".png", is_drawn)
    check_target(own.save, "--save", ".safetensors")
    check_target(own.save_scores, "--save-scores", ".npz", is_scores)
    given = [*own.models, *filter(None, (own.plot, own.reliability, own.save, own.save_scores))]
    places = [model_file(path).resolve() for path in given]
    twice = next((path for path, place in zip(given, places, strict=True) if places.count(place) > 1), None)
    if twice is not None and own.models.count(twice) < 2:
        raise UserError(f"{twice} is named for two things; give each file a name of its own")
    if own.save and own.precision != "fp32":
        raise UserError("--save keeps float32 weights; go without --precision bf16")
    looked = looks(own.protocol, own.scales, context)
    several = len(looked) > 1 or (len(own.models) > 1 and own.weights == "none")
    if several and (own.temperature or own.save):
        option = "--temperature" if own.temperature else "--save"
        raise UserError(f"{option} is of one row; name one --protocol, and one model or --weights mean or fit")


def requested(own: Evaluate, context: Context) -> Request:
    """Return the request with its models and saved scores loaded; what cannot be together is a `UserError`."""
    if not own.models:
        raise UserError("name a MODEL: a run's directory, a model file, or a file of saved scores")
    twice = [path for path in own.models if own.models.count(path) > 1]
    if twice:
        raise UserError(f"{twice[0]} is named twice; name each model once")
    saved = [path for path in own.models if is_scores(path)]
    single = {"--changed": own.changed, "--plot": own.plot, "--reliability": own.reliability, "--table": own.table}
    single["--temperature"] = own.temperature
    arithmetic = Arithmetic(own.precision, "nhwc")
    request = Request(
        models={
            str(path): load(path, context, arithmetic, own.device, say) for path in own.models if path not in saved
        },
        saved=tuple(saved_row(path) for path in saved),
        order=tuple(map(str, own.models)),
        protocols=looks(own.protocol, own.scales, context),
        data=own.data,
        split=own.split,
        weights=own.weights,
        temperature=own.temperature,
        thresholds=own.thresholds,
        of_one_label=dict.fromkeys((option for option, given in single.items() if given), "leave it out"),
        mapping=mapping_in(own.classes),
        batch=own.batch,
        workers=own.workers,
        strict=own.strict,
    )
    check_saved(request, own.save)
    return request


def check_saved(request: Request, save: Path | None) -> None:
    """Raise `UserError` for what saved scores cannot give."""
    if not request.saved:
        return
    first = request.saved[0].name
    if request.fitting:
        raise UserError(f"{first} holds no scores of the validation split to fit to; name the model itself")
    if save:
        raise UserError(f"{first} holds scores and no model, so it cannot be part of --save {save}")
    if len(request.protocols) > 1:
        raise UserError(f"{first} was scored under one protocol; name one --protocol beside saved scores")
    if not request.models and (any(request.protocols) or request.data or request.split):
        raise UserError(f"{first} has been scored already; --data, --split and --protocol are for models")


def perform(request: Request, context: Context, device: str) -> Scored | None:
    """Score what was requested, with progress on standard error."""

    def announce(what: str) -> None:
        say(folder_not_read(request.data or "", context))
        print(f"evaluating {what}, on {device_of(device)}", file=sys.stderr)

    return score(request, context, announce, counting)


def write_files(own: Evaluate, result: Scored, context: Context) -> None:
    """The pictures, the scores and the model that were asked for."""
    last = result.rows[-1]
    evaluation = last.evaluation
    if own.plot:
        confusion_png(tables.matrix(evaluation), evaluation.classes, own.plot)
    if own.reliability:
        reliability_png(reliability(evaluation.scores, labels_of(evaluation.targets, "--reliability")), own.reliability)
    if own.save_scores:
        for path, row in zip(score_files(own.save_scores, result.rows), result.rows, strict=True):
            save_scores(path, row.evaluation, row.images, to_json(row.facts))
    if own.save:
        blend = result.blends[-1] if result.blends else Blend("", (len(result.rows) - 1,), (1.0,))
        metrics = Metrics(dict(evaluation.measures), len(evaluation.targets), evaluation.total, evaluation.main)
        trained = Provenance(metrics={last.facts.split: metrics})
        fused = replace(blend.ensemble(result.ways), trained=trained, versions=versions())
        fused = replace(fused, thresholds=evaluation.thresholds)
        save_model(own.save, fused, context)


def score_files(path: Path, rows: Sequence[Row]) -> list[Path]:
    """One file a row: `path`, or with several rows `path` with the row's name in it."""
    if len(rows) == 1:
        return [path]
    words = [re.sub(r"[^\w.+]+", "-", row.name).strip("-")[-80:] for row in rows]
    digits = len(str(len(rows)))
    return [path.with_name(f"{path.stem}.{i:0{digits}}.{word}{path.suffix}") for i, word in enumerate(words, 1)]


def record(own: Evaluate, result: Scored) -> dict[str, Any]:
    """The last row as JSON, and all rows in short."""
    last = result.rows[-1]
    rows = [{"name": row.name} | tables.short_record(row.evaluation) | to_json(row.facts) for row in result.rows]
    told = tables.record(last.evaluation) | {
        "data": last.facts.said,
        "protocol": last.facts.tested.protocol or AS_TRAINED,
        "rows": rows,
    }
    return told | ({"changed": changed(result.rows[0], last, own.changed)} if own.changed else {})


def text(own: Evaluate, result: Scored) -> str:
    """The rows beside each other, then the last in full."""
    last = result.rows[-1].evaluation
    parts = tables.in_full(last)
    if len(result.rows) > 1:
        parts = [row_table(result.rows), f"{printable(result.rows[-1].name)}:", *parts]
    if own.changed:
        parts.append("rank of an image's class in the first row -> in the last")
        moved = changed(result.rows[0], result.rows[-1], own.changed)
        parts[-1] += "".join(f"\n{m['before']:>6} -> {m['after']:<6} {printable(m['image'])}" for m in moved)
    return "\n\n".join(parts)


def paper_table(name: str, own: Evaluate, result: Scored) -> str:
    """The table of a paper with our rows in it."""
    facts = [row.facts for row in result.rows]
    measured = [
        papers.as_measured(row.evaluation, f.tested, f"{f.data} {f.split}")
        for row, f in zip(result.rows, facts, strict=True)
    ]
    return papers.render(name, measured, own.table_format)


def row_table(rows: Sequence[Row]) -> str:
    """Return each row's measures on a line: accuracies with Wilson's 95 % interval, or mean average precision."""
    names = [printable(row.name) for row in rows]
    wide = max(map(tables.columns, names))
    lines = []
    for name, row in zip(names, rows, strict=True):
        lines.append(f"{tables.padded(name, wide)}  {tables.headline(row.evaluation)}")
    return "\n".join(lines)


def run(own: Evaluate) -> int:
    """Score models on a split, alone and fused."""
    context = context_of(own.common)
    result = evaluate(own, context)
    try:
        return tell(told_of(own, result) if result else None, own.common)
    finally:  # where the disk is full, the result has been told; where nobody reads it any more, there are the files
        if result:
            write_files(own, result, context)
