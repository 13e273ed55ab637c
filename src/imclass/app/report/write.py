"""The page of a run from its folder alone, or of a model that is evaluated into a folder first."""
# Tested in tests/app/report/test_page.py

import re
from pathlib import Path
from typing import Any

from imclass.app.evaluation.request import open_request
from imclass.app.evaluation.result import Result, score_request
from imclass.app.load import is_published, normal_spelling
from imclass.app.report.facts import gather_model, gather_run
from imclass.app.report.markup import GENERATOR
from imclass.app.report.page import page
from imclass.app.runs.directory import Run
from imclass.app.runs.single import is_multiprocess
from imclass.app.runs.train import class_counts
from imclass.app.runs.watchers.pictures import write_pictures
from imclass.app.runs.watchers.scores import SCORES
from imclass.app.writing import check_target
from imclass.core.codec import to_json
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.files import has_mark, write_file
from imclass.evaluation.request import Progress
from imclass.evaluation.results import save_scores
from imclass.store.context import Context

PAGE = "report.html"


def is_report(path: Path) -> bool:
    """Return whether a file begins as our pages do."""
    return has_mark(path, GENERATOR.encode())


def write_report(run: Run, path: Path, context: Context) -> Path:
    """Write a finished run's page to `path`: one HTML file that needs nothing else. Return `path`.

    It is made of the run's folder alone: nothing is scored, and the data is not opened. Raise `UserError` for a folder
    that holds no finished run.
    """
    write_file(path, page(gather_run(run, context)))
    return path


def report(
    model: str, data: Any, out: Path | None, context: Context, progress: Progress, protocol: Any = None, **options: Any
) -> Path:
    """Write the page of a run, from its folder alone, or with `data` or for any other model after an evaluation."""
    given = (data, protocol, options.get("split"), options.get("mapping"))
    asked = any(value is not None for value in given) or options.get("trained") == "include"
    if asked or is_published(model) or (not (Path(model) / "config.json").is_file() and Path(model).exists()):
        return report_model(model, data, out, context, progress, protocol, **options)
    return report_run(Path(model), out, context)


def report_run(folder: Path, out: Path | None, context: Context) -> Path:
    """Write the page of a finished run, RUN/report.html by default."""
    check_target(out, "--out", ".html", is_report)
    run = Run(folder)
    return write_report(run, out or run.folder / PAGE, context)


def report_model(
    model: str, data: Any, out: Path | None, context: Context, progress: Progress, protocol: Any = None, **options: Any
) -> Path:
    """Evaluate a model into a folder, reports/MODEL by default, and write its page there. Return the page's path.

    `options` are fields of a `Request`. The folder gets the scores and pictures that the page is made of.
    """
    folder = out or Path("reports") / (re.sub(r"[^\w.+-]+", "-", normal_spelling(model)).strip("-.") or "model")
    check_folder(folder)
    if is_multiprocess():
        raise UserError("a report is written by one process; give the command without torchrun")
    request = open_request(model, data, protocol, None, context, progress, **options)
    result = score_request(request, context, progress)
    row, dataset = result.rows[-1], result.scoring.dataset
    if dataset is None:
        raise UserError(f"{model} holds scores and no model; give the model itself")
    folder.mkdir(parents=True, exist_ok=True)
    save_evaluation(folder, result, dataset)
    counts = class_counts(dataset)
    ((name, classifier),) = request.models.items()
    write_file(folder / PAGE, page(gather_model(model, classifier, request.files[name], folder, row, counts)))
    return folder / PAGE


def check_folder(folder: Path) -> None:
    """Raise `UserError` unless a report may be written into the folder: a new or empty one, or one with a report."""
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / PAGE).is_file() or not is_report(folder / PAGE) or (folder / "config.json").exists():
            raise UserError(f"--out {folder} holds other files; name a new or an empty folder")
    elif folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file; name a folder for the page, the scores and the pictures")


def save_evaluation(folder: Path, result: Result, dataset: Dataset) -> None:
    """Write the scores and the pictures of an evaluation into a folder."""
    row = result.rows[-1]
    path = folder / SCORES / f"{row.facts.split}.npz"
    path.parent.mkdir(exist_ok=True)
    save_scores(path, row.evaluation, row.images, to_json(row.facts))
    (classifier,) = result.request.models.values()
    preprocess = next((network.preprocess for network in classifier.networks().values()), None)
    write_pictures(folder, row.evaluation, row.images, dataset, preprocess)
