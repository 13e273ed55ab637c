"""Scores in a file, so that a second table, a fusion or a comparison needs no second pass over the images.

An uncompressed .npz of `ids`, `names`, `scores`, `classes`, `json` (a record of what was run), and `labels`, or `marks`
where images may have several labels.
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
from imclass.evaluation.measures.single_label import ranks
from imclass.evaluation.papers.table import RowSubject
from imclass.store.untrusted import DAMAGE_ERRORS

SCORE_ARRAYS = {"ids": "int64 N", "names": "str N", "scores": "float32 N K", "classes": "str K"}
LABEL_ARRAYS = {"labels": "int64 N"}
MARK_ARRAYS = {"marks": "int8 N K"}


@dataclass(frozen=True)
class SavedScores:
    """An evaluation with the name of each image, in its order, and the record that was written beside it."""

    evaluation: Evaluation
    names: tuple[str, ...] = field(repr=False)
    record: dict[str, Any]


def image_names(dataset: Dataset, evaluation: Evaluation) -> tuple[str, ...]:
    """Return the name of each image of an evaluation of this data set."""
    places = {image: i for i, image in enumerate(dataset.ids.tolist())}
    return tuple(dataset.name(places[image]) for image in evaluation.ids.tolist())


def save_scores(path: Path, evaluation: Evaluation, names: Sequence[str], record: Mapping[str, Any]) -> None:
    """Write the scores of every image and the record at `path`, or leave what was there.

    The record's counts and `refused_files` are those of the evaluation.
    """
    counts = {"total": evaluation.total, "left_out": evaluation.left_out, "trained_on": evaluation.trained_on}
    whole = {**record, **counts, "refused_files": to_json(evaluation.refused)}
    whole |= {"thresholds": list(evaluation.thresholds)} if evaluation.thresholds else {}
    known: dict[str, Any] = {"labels" if isinstance(evaluation.targets, OneOf) else "marks": evaluation.targets.numpy()}
    with atomic_writer(path) as file:
        np.savez(
            file,
            ids=evaluation.ids,
            names=np.array(names, dtype=np.str_),
            **known,
            scores=evaluation.scores,
            classes=np.array(evaluation.classes, dtype=np.str_),
            json=np.array(json.dumps(whole)),
        )


def is_scores_file(path: Path) -> bool:
    """Return whether a file begins as one of saved scores does, which no model file can."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def read_scores(path: Path) -> SavedScores:
    """What `save_scores` wrote; accuracies and loss are counted again. Anything else is a `UserError` that says why."""
    if not path.is_file():
        raise UserError(f"there is no file of scores {path}")
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
            f"{path} does not hold scores ({why}); write it with imclass evaluate MODEL --save-scores FILE"
        ) from None


def check_uncompressed(path: Path) -> None:
    """A `ValueError` for members that are compressed: a small file could stand for more than memory holds."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > path.stat().st_size:
                raise ValueError(f"its member {member.filename} is compressed")


def check_arrays(arrays: Mapping[str, np.ndarray], form: Mapping[str, str]) -> None:
    """Raise `ValueError` unless the arrays are of the types in `form`, fit each other, and are targets and scores."""
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
    """Return the evaluation that these checked arrays are of.

    Raise `UserError` or `KeyError` for a record without its counts.
    """
    classes = tuple(arrays["classes"].tolist())
    total = from_json(int, record["total"], "total")
    refused = from_json(tuple[Refused, ...], record["refused_files"], "refused_files")
    thresholds = from_json(tuple[float, ...], record.get("thresholds", []), "thresholds")
    if len(thresholds) not in (0, len(classes)):
        raise UserError(f"it has {len(thresholds)} thresholds for {len(classes)} classes")
    targets = AnyOf(arrays["marks"]) if "marks" in arrays else OneOf(arrays["labels"])
    evaluation = evaluation_of(classes, targets, arrays["scores"], arrays["ids"], total, refused, thresholds)
    counts = {key: from_json(int, record[key], key) for key in ("left_out", "trained_on")}
    evaluation = dataclasses.replace(evaluation, **counts)
    return SavedScores(evaluation, tuple(arrays["names"].tolist()), record)


@dataclass(frozen=True)
class Facts:
    """What scores are of, as it is kept beside them."""

    models: tuple[str, ...]
    tested: RowSubject  # in the terms of the papers' tables
    said: str  # which images, and why these
    data: str  # name or folder
    split: str
    weights: tuple[float, ...] = (1.0,)
    temperature: float = 1.0


@dataclass(frozen=True)
class ResultRow:
    """Scores, the names of the images, and what they are of."""

    name: str
    evaluation: Evaluation
    images: tuple[str, ...] = field(repr=False)
    facts: Facts


def read_row(path: Path) -> ResultRow:
    """Return the row that `--save-scores` wrote into a file. Raise `UserError` where the file lacks what it is of."""
    saved = read_scores(path)
    known = {field.name for field in dataclasses.fields(Facts)}
    try:
        facts = from_json(Facts, {key: value for key, value in saved.record.items() if key in known})
    except UserError as error:
        raise UserError(f"{path} does not say what its scores are of ({error}); write it again") from None
    return ResultRow(str(path), saved.evaluation, saved.names, facts)


def check_images(rows: Sequence[ResultRow]) -> None:
    """Raise `UserError` unless rows are of the same images by name, as far as both have them."""
    first = rows[0]
    for row in rows[1:]:
        if len(row.images) == len(first.images) and row.images != first.images:
            other = [a for a, b in zip(row.images, first.images, strict=True) if a != b]
            raise UserError(
                f"{first.name} and {row.name} are scores of different images "
                f"(only the second has {list_names(other, 3)}); evaluate both on the same --data"
            )


def rank_changes(first: ResultRow, last: ResultRow, most: int) -> list[dict[str, Any]]:
    """Return at most so many images whose class ranks differently: name, rank in the first and in the last row."""
    join_evaluations([first.evaluation, last.evaluation])
    each = (row.evaluation for row in (first, last))
    before, after = (ranks(e.scores, labels_of(e.targets, "--changed")) for e in each)
    order = np.argsort(-np.abs(after - before), kind="stable")[:most]
    return [
        {"image": last.images[i], "before": int(before[i]), "after": int(after[i])}
        for i in order.tolist()
        if before[i] != after[i]
    ]
