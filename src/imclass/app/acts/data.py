"""The actions of `imclass data`: fetching, checking and exporting data sets."""
# Tested in tests/app/verbs/test_data.py

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from PIL import Image as Pictures

from imclass.app.text.columns import text_table
from imclass.core.codec import to_json
from imclass.core.config import Cut
from imclass.core.contracts import Dataset, Refused
from imclass.core.errors import BadImage, UserError, require
from imclass.core.files import atomic_writer
from imclass.core.targets import labels_of
from imclass.core.text import printable_text, shorten_name
from imclass.data.catalog import (
    dataset_table,
    find_unreadable,
    open_split,
    open_splits,
    shadowed_folder_note,
    take_split,
)
from imclass.data.readable import check_learnable, check_scorable
from imclass.data.source import DataLocation, DatasetEntry
from imclass.evaluation.leaks import leak_notes
from imclass.evaluation.score import describe_refusal
from imclass.store.context import Context


def fetch_dataset(name: str, context: Context) -> dict[str, Any]:
    """Fetch a data set into the store."""
    source: DatasetEntry = dataset_table(context)[name]
    if source.get is None:
        raise UserError(
            f"{name} cannot be downloaded; it either needs no download or must be copied "
            f"into {context.store.folder} by hand ({source.summary})"
        )
    source.get(DataLocation(context.store))
    return {"name": name, "store": str(context.store.folder)}


def audit_dataset(name: str, context: Context, split_seed: int = 0, workers: int = 0) -> dict[str, Any]:
    """Decode every image of every split. Return a record with image counts, unusable images, and other problems."""
    cut = Cut(seed=split_seed)
    splits = open_splits(name, context, cut)
    first = take_split(splits, "train", name)
    opened = [first, *(dataset for split, dataset in splits.items() if split != "train")]
    refused = [r for dataset in opened for r in find_unreadable(dataset, workers)]
    counts = {dataset.split: dataset.targets.counts(len(first.classes)).tolist() for dataset in opened}
    notes = [
        *shadowed_folder_note(name, context),
        *dict.fromkeys(note for dataset in opened for note in dataset.origin.notes),
        *leak_notes(first, opened[1:]),
    ]
    problem = split_problem(opened)
    return {
        "name": name,
        "classes": list(first.classes),
        "rule": first.origin.rule,
        "images": {dataset.split: len(dataset) for dataset in opened},
        "per_class": {c: {split: n[k] for split, n in counts.items()} for k, c in enumerate(first.classes)},
        "notes": notes,
        "refused": to_json(refused),
        "well": not refused and not problem,
        "summary": problem or check_summary(sum(map(len, opened)), len(refused), len(first.classes), bool(notes)),
    }


def split_problem(opened: Sequence[Dataset]) -> str:
    """Return what prevents training on the first split or scoring the other splits, or "" if nothing does."""
    try:
        check_learnable(opened[0])
        check_scorable(opened[1:])
    except UserError as error:
        return str(error)
    return ""


def check_summary(images: int, refused: int, classes: int, noted: bool) -> str:
    """Return the result of a check as a sentence."""
    if refused:
        return f"{refused:,} of {images:,} images cannot be used and will be left out; replace or remove them"
    text = f"no problems found: all {images:,} images of {classes:,} classes can be read"
    return f"{text}; see the notes" if noted else text


def check_text(record: Mapping[str, Any]) -> str:
    """Return the record of a check as text: image counts per class and split, notes, refusals, and the result."""
    rows = [{"class": shorten_name(name)} | counts for name, counts in record["per_class"].items()]
    lines = [f"name: {printable_text(record['name'])}", f"rule: {record['rule']}"]
    lines += [text_table([*rows, {"class": "total"} | record["images"]])]
    lines += [f"note: {printable_text(note)}" for note in record["notes"]]
    lines += [f"refused: {describe_refusal(Refused(**refused))}" for refused in record["refused"]]
    return "\n".join([*lines, printable_text(record["summary"])])


def export_images(
    name: str, out: Path | None, context: Context, split: str = "test", most: int = 100, split_seed: int = 0
) -> dict[str, Any]:
    """Write up to `most` images of a split, balanced across classes, as OUT/CLASS/INDEX.png files.

    OUT must be new or empty. The returned record lists the images that could not be read.
    """
    require(most >= 1, "most", most, "at least 1 image")
    if out is None:
        raise UserError("--out is missing; specify a new folder")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"--out {out} already exists; choose a new or empty folder")
    dataset = open_split(name, split, context, Cut(seed=split_seed))
    if out.resolve().is_relative_to(dataset.origin.path):
        why = f"--out {out} is inside the data folder {dataset.origin.path}, so the exported images would become data"
        raise UserError(f"{why}; choose a folder outside the data folder")
    labels = labels_of(dataset.targets, "an export into a folder for each class", "copy the CSV file's images")
    chosen = balanced_order(labels)[:most].tolist()
    refused = [bad for i in chosen if (bad := write_png(dataset, i, out)) is not None]
    return {"name": name, "out": str(out), "images": len(chosen) - len(refused), "refused": to_json(refused)}


def balanced_order(labels: Int64[np.ndarray, "N"]) -> Int64[np.ndarray, "N"]:
    """Return the positions of all images, in an order that takes one image from each class in turn."""
    order = np.argsort(labels, kind="stable")
    class_start = np.searchsorted(labels[order], labels[order])  # where each image's class begins in that order
    rank = np.arange(len(labels)) - class_start  # the position of each image within its class
    return order[np.lexsort((labels[order], rank))]


def write_png(dataset: Dataset, i: int, out: Path) -> Refused | None:
    """Write an image as OUT/CLASS/INDEX.png. If the image cannot be read, return the reason instead."""
    try:
        image = dataset[i]
    except BadImage as bad:
        return Refused(bad.path, bad.code, bad.detail)
    folder = out / dataset.targets[[i]].label_texts(dataset.classes)[0].replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_writer(folder / f"{i:05d}.png") as file:
        Pictures.fromarray(image[:, :, 0] if image.shape[2] == 1 else np.asarray(image)).save(file, format="PNG")
    return None
