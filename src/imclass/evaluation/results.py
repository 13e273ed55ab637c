"""Score files, from which tables, fusions and comparisons can be made without scoring the images again.

A score file is an uncompressed .npz file with `ids`, `names`, `scores`, `classes`, `json` (a record of what was run),
and either `labels` or, if images may have several labels, `marks`.
"""

import dataclasses
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imclass.core.classes import check_classes
from imclass.core.codec import from_json, to_json
from imclass.core.contracts import Dataset, Evaluation, Refused
from imclass.core.errors import UserError
from imclass.core.files import atomic_writer
from imclass.core.targets import AnyOf, OneOf, labels_of
from imclass.core.text import list_names
from imclass.evaluation.fusion import join_evaluations
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.measures.growth import with_old_classes
from imclass.evaluation.measures.single_label import ranks
from imclass.evaluation.papers.table import RowSubject
from imclass.store.untrusted import DAMAGE_ERRORS

SCORE_ARRAYS = {"ids": "int64 N", "names": "str N", "scores": "float32 N K", "classes": "str K"}
LABEL_ARRAYS = {"labels": "int64 N"}
MARK_ARRAYS = {"marks": "int8 N K"}


@dataclass(frozen=True)
class SavedScores:
    """An evaluation, the names of its images in the same order, and the record stored with it."""

    evaluation: Evaluation
    names: tuple[str, ...] = field(repr=False)
    record: dict[str, Any]


def image_names(dataset: Dataset, evaluation: Evaluation) -> tuple[str, ...]:
    """Return the names of the images that were scored in an evaluation of this data set."""
    positions = {image: i for i, image in enumerate(dataset.ids.tolist())}
    return tuple(dataset.name(positions[image]) for image in evaluation.ids.tolist())


def save_scores(path: Path, evaluation: Evaluation, names: Sequence[str], record: Mapping[str, Any]) -> None:
    """Write the scores of every image and the record to `path`. If writing fails, an existing file stays unchanged.

    The counts and `refused_files` in the record are replaced by those of the evaluation.
    """
    counts = {"total": evaluation.total, "left_out": evaluation.left_out, "trained_on": evaluation.trained_on}
    complete = {**record, **counts, "refused_files": to_json(evaluation.refused)}
    if evaluation.thresholds:
        complete["thresholds"] = list(evaluation.thresholds)
    if evaluation.old:
        complete["old"] = list(evaluation.old)
    known: dict[str, Any] = {"labels" if isinstance(evaluation.targets, OneOf) else "marks": evaluation.targets.numpy()}
    with atomic_writer(path) as file:
        np.savez(
            file,
            ids=evaluation.ids,
            names=np.array(names, dtype=np.str_),
            **known,
            scores=evaluation.scores,
            classes=np.array(evaluation.classes, dtype=np.str_),
            json=np.array(json.dumps(complete)),
        )


def is_scores_file(path: Path) -> bool:
    """Return whether a file starts like a zip archive. Score files do, and model files do not."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def read_scores(path: Path) -> SavedScores:
    """Read a file written by `save_scores`, and compute the measures again. Raise `UserError` for any other file."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; write scores with imclass evaluate MODEL --save-scores FILE")
    try:
        check_uncompressed(path)
        with np.load(path, allow_pickle=False) as archive:
            form = SCORE_ARRAYS | (MARK_ARRAYS if "marks" in archive else LABEL_ARRAYS)
            arrays = {name: archive[name] for name in (*form, "json")}
        record = json.loads(str(arrays["json"][()]))
        check_arrays(arrays, form)
        return restore_scores(arrays, record)
    except (*DAMAGE_ERRORS, UserError, KeyError, TypeError, RecursionError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is not a valid score file ({why}); "
            "write the scores again with imclass evaluate MODEL --save-scores FILE"
        ) from None


def check_uncompressed(path: Path) -> None:
    """Raise `ValueError` if an array is compressed. A small file could then expand to more than fits in memory."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > path.stat().st_size:
                raise ValueError(f"its member {member.filename} is compressed")


def check_arrays(arrays: Mapping[str, np.ndarray], form: Mapping[str, str]) -> None:
    """Raise `ValueError` if an array's type or axes differ from `form`, or if its values are invalid."""
    sizes: dict[str, int] = {}
    for name, wanted in form.items():
        (kind, *axes), array = wanted.split(), arrays[name]
        found = "str" if array.dtype.kind == "U" else array.dtype.name
        if found != kind or not array.dtype.isnative or array.ndim != len(axes):
            raise ValueError(f"{name} is {found} with {array.ndim} axes, not {wanted}")
        for axis, size in zip(axes, array.shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                raise ValueError(f"{name} has {size:,} entries where others have {sizes[axis]:,}")
    if not sizes["N"]:
        raise ValueError("it has no images")
    if "labels" in arrays and not ((arrays["labels"] >= 0) & (arrays["labels"] < sizes["K"])).all():
        raise ValueError(f"a label is not one of its {sizes['K']} classes")
    if "marks" in arrays and not (np.abs(arrays["marks"]) <= 1).all():
        raise ValueError("a mark is not 1, 0 or -1")
    if not np.isfinite(arrays["scores"]).all():
        raise ValueError("a score is not finite")
    check_classes(arrays["classes"].tolist(), "its list of classes")


def restore_scores(arrays: Mapping[str, np.ndarray], record: dict[str, Any]) -> SavedScores:
    """Rebuild the evaluation from checked arrays. Raise `UserError` or `KeyError` if the record lacks a count."""
    classes = tuple(arrays["classes"].tolist())
    total = from_json(int, record["total"], "total")
    refused = from_json(tuple[Refused, ...], record["refused_files"], "refused_files")
    thresholds = from_json(tuple[float, ...], record.get("thresholds", []), "thresholds")
    if len(thresholds) not in (0, len(classes)):
        raise UserError(f"it has {len(thresholds)} thresholds for {len(classes)} classes")
    targets = AnyOf(arrays["marks"]) if "marks" in arrays else OneOf(arrays["labels"])
    evaluation = evaluation_of(classes, targets, arrays["scores"], arrays["ids"], total, refused, thresholds)
    counts = {key: from_json(int, record[key], key) for key in ("left_out", "trained_on")}
    old = from_json(tuple[str, ...], record.get("old", []), "old")
    evaluation = with_old_classes(dataclasses.replace(evaluation, **counts), old)
    return SavedScores(evaluation, tuple(arrays["names"].tolist()), record)


@dataclass(frozen=True)
class Facts:
    """Facts that are stored with scores: the models, images and fusion that produced them."""

    models: tuple[str, ...]
    tested: RowSubject  # in the terms of the papers' tables
    scope: str  # a phrase that says what the images are and why they were chosen: "split test of photos"
    data: str  # name or folder
    split: str
    weights: tuple[float, ...] = (1.0,)
    temperature: float = 1.0


@dataclass(frozen=True)
class ResultRow:
    """An evaluation with its name, the names of its images, and the facts stored with its scores."""

    name: str
    evaluation: Evaluation
    images: tuple[str, ...] = field(repr=False)
    facts: Facts


def read_row(path: Path) -> ResultRow:
    """Read a row from a file written by `--save-scores`. Raise `UserError` if any of the row's facts are missing."""
    saved = read_scores(path)
    known = {field.name for field in dataclasses.fields(Facts)}
    try:
        facts = from_json(Facts, {key: value for key, value in saved.record.items() if key in known})
    except UserError as error:
        raise UserError(
            f"{path} does not record what was scored ({error}). "
            "Write the scores again with imclass evaluate MODEL --save-scores FILE"
        ) from None
    return ResultRow(str(path), saved.evaluation, saved.names, facts)


def check_images(rows: Sequence[ResultRow]) -> None:
    """Raise `UserError` if the names of the images in a row differ from those in the first row.

    Rows with different numbers of images pass this check, because `fuse` rejects them.
    """
    first = rows[0]
    for row in rows[1:]:
        if len(row.images) == len(first.images) and row.images != first.images:
            other = [a for a, b in zip(row.images, first.images, strict=True) if a != b]
            raise UserError(
                f"{first.name} and {row.name} have scores for different images "
                f"(only the second has {list_names(other, 3)}); evaluate both on the same --data"
            )


def rank_changes(first: ResultRow, last: ResultRow, max_images: int) -> list[dict[str, Any]]:
    """Return up to `max_images` images whose true class changed rank, with both ranks, largest change first."""
    join_evaluations([first.evaluation, last.evaluation])
    each = (row.evaluation for row in (first, last))
    before, after = (ranks(e.scores, labels_of(e.targets, "--changed")) for e in each)
    order = np.argsort(-np.abs(after - before), kind="stable")[:max_images]
    return [
        {"image": last.images[i], "before": int(before[i]), "after": int(after[i])}
        for i in order.tolist()
        if before[i] != after[i]
    ]
