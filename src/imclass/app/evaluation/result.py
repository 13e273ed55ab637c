"""The result of an evaluation, and the texts, tables, pictures and files that can be made from it."""
# Tested in tests/app/evaluation/test_result.py

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imclass.app.draw.canvas import is_our_picture
from imclass.app.draw.confusion import confusion_png
from imclass.app.draw.reliability import reliability_png
from imclass.app.evaluation.comparison import Contrast, contrast_rows
from imclass.app.report.mistakes import MISTAKES_SUFFIXES, is_mistakes, write_mistakes
from imclass.app.text import evaluation as tables
from imclass.app.text import rows as texts
from imclass.app.writing import check_target
from imclass.core.codec import to_json
from imclass.core.contracts import Evaluation
from imclass.core.errors import UserError, require
from imclass.core.model_file import Metrics, Provenance
from imclass.core.runtime import library_versions
from imclass.core.targets import labels_of
from imclass.core.text import percent
from imclass.data.catalog import shadowed_folder_note
from imclass.evaluation.measures.calibration import reliability
from imclass.evaluation.papers import render as papers
from imclass.evaluation.request import Progress, Request, Scoring, score
from imclass.evaluation.results import ResultRow, is_scores_file, rank_changes, save_scores
from imclass.evaluation.unpack import save_classifier as save_model
from imclass.store.context import Context


@dataclass(frozen=True)
class Result:
    """The result of an evaluation: a row for each model and protocol, then one for each fusion.

    The measures, pictures and files describe the last row. `print(result)` prints what `imclass evaluate` prints, and a
    notebook shows a result as tables and a confusion matrix. Under torchrun, only the first process has rows.
    """

    rows: tuple[ResultRow, ...]
    request: Request = field(repr=False)
    scoring: Scoring = field(repr=False)
    context: Context = field(repr=False)

    def __repr__(self) -> str:
        """Return the name and the main measure of each row, on one line."""
        if not self.rows:
            return "Result()"
        each = [f"{row.name}: {e.main} {percent(e.measures[e.main])}" for row in self.rows for e in (row.evaluation,)]
        return f"Result({'; '.join(each)}; {self.evaluation.tally})"

    def __str__(self) -> str:
        """Return what `imclass evaluate` prints."""
        return self.text()

    @property
    def evaluation(self) -> Evaluation:
        """Return the last row's evaluation: targets, scores (N x K), ids, measures, and refused images."""
        return self.rows[-1].evaluation

    @property
    def measures(self) -> Mapping[str, float]:
        """Return the last row's measures by name, such as `top1` in [0, 1] and `loss` (mean cross-entropy in nats)."""
        return self.evaluation.measures

    def rank_changes(self, most: int = 10) -> list[dict[str, Any]]:
        """Return up to `most` images whose true class has different ranks in the first and last rows."""
        return rank_changes(self.rows[0], self.rows[-1], most)

    def compare(self, most: int = 10) -> Contrast:
        """Compare the last row with the first on the images they have in common.

        Up to `most` changed images are listed.
        """
        if not self.rows:
            raise UserError("under torchrun, only the first process has rows; call compare only in that process")
        return contrast_rows(self.rows[0], self.rows[-1], most)

    def record(self, most: int = 0) -> dict[str, Any]:
        """Return a JSON record: all details of the last row, a summary of each row, and up to `most` changed images."""
        return texts.rows_record(self.rows, self.rank_changes(most) if most else None)

    def text(self, most: int = 0) -> str:
        """Return a line for each row, then all details of the last row, with up to `most` changed images."""
        return texts.rows_text(self.rows, self.rank_changes(most) if most else None)

    def table(self, name: str, form: papers.Format = "text") -> str:
        """Return a table from the VGG paper ("3" to "7") or of residual networks ("resnet"), with these rows added."""
        measured = []
        for row in self.rows:
            where = f"{row.facts.data} {row.facts.split}"
            if known := row.evaluation.trained_on:
                where += f", {known:,} of which the model was trained on"
            measured.append(papers.measurement_of(row.evaluation, row.facts.tested, where))
        return papers.render_table(name, measured, form)

    def plot(self, path: str | Path) -> Path:
        """Draw the last row's confusion matrix, and save it as a PNG file."""
        path = writable_path(path, ".png", is_our_picture)
        confusion_png(tables.confusion_matrix(self.evaluation), self.evaluation.classes, path)
        return path

    def reliability(self, path: str | Path) -> Path:
        """Draw a reliability diagram (accuracy against confidence) for the last row, and save it as a PNG file."""
        path, last = writable_path(path, ".png", is_our_picture), self.evaluation
        reliability_png(reliability(last.scores, labels_of(last.targets, "--reliability")), path)
        return path

    def mistakes(self, path: str | Path) -> Path:
        """List the last row's misclassified images in a .csv file, or show them on an .html page."""
        path = Path(path).expanduser()
        require(path.suffix.lower() in MISTAKES_SUFFIXES, "mistakes", path, "a file whose name ends in .csv or .html")
        check_target(path, "the file", ours=is_mistakes)
        write_mistakes(path, self.rows[-1], self.scoring.dataset, self.request.workers)
        return path

    def save_scores(self, path: str | Path) -> tuple[Path, ...]:
        """Write each row's scores to an .npz file that can be evaluated like a model. Return the paths of the files."""
        path = writable_path(path, ".npz", is_scores_file)
        paths = score_paths(path, self.rows)
        for file in paths:
            writable_path(file, ".npz", is_scores_file)
        for file, row in zip(paths, self.rows, strict=True):
            save_scores(file, row.evaluation, row.images, to_json(row.facts))
        return paths

    def save_model(self, path: str | Path) -> Path:
        """Write the last row's models, protocols, weights and temperature as one model file."""
        self.request.check_savable()
        path, last = writable_path(path, ".safetensors"), self.evaluation
        metrics = Metrics(dict(last.measures), len(last.targets), last.total, last.main)
        trained = Provenance(metrics={self.rows[-1].facts.split: metrics})
        made = replace(self.scoring.ensemble, trained=trained, versions=library_versions(), thresholds=last.thresholds)
        save_model(path, made, self.context)
        return path

    def _repr_html_(self) -> str:
        """Return tables and the confusion matrix as HTML for a notebook."""
        from imclass.app.report.notebook import notebook_html

        return notebook_html(self)


def writable_path(path: str | Path, suffix: str, ours: Any = None) -> Path:
    """Return `path` with `~` expanded. Raise `UserError` if the file may not be written."""
    path = Path(path).expanduser()
    if ours:
        check_target(path, "the file", suffix, ours)
    else:
        check_target(path, "the file", suffix)
    return path


def score_paths(path: Path, rows: Sequence[ResultRow]) -> tuple[Path, ...]:
    """Return a path for each row: `path` for a single row, otherwise `path` with each row's number and name added."""
    if len(rows) == 1:
        return (path,)
    words = [re.sub(r"[^\w.+]+", "-", row.name).strip("-")[-80:] for row in rows]
    digits = len(str(len(rows)))
    return tuple(path.with_name(f"{path.stem}.{i:0{digits}}.{word}{path.suffix}") for i, word in enumerate(words, 1))


def score_request(request: Request, context: Context, progress: Progress) -> Result:
    """Score a request and return its result."""
    if isinstance(request.data, str):
        for note in shadowed_folder_note(request.data, context):
            progress.note(note)
    scoring = score(request, context, progress)
    for note in scoring.dataset.origin.notes if scoring.dataset else ():
        progress.note(note)
    return Result(scoring.rows, request, scoring, context)
