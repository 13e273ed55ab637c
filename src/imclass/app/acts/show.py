"""The action of `imclass data show`: a contact sheet of a data set, or of the views that a recipe trains on."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Int64

from imclass.app.draw.canvas import is_our_picture
from imclass.app.draw.sheet import Sheet, fit_cell, sheet_png
from imclass.app.runs.facts import facts_of, with_facts
from imclass.app.runs.objectives import settle_objectives
from imclass.app.settings.configure import recipes
from imclass.app.writing import check_target
from imclass.core.codec import to_json
from imclass.core.config import Cut, Execution, Training
from imclass.core.contracts import Dataset, Image, Refused
from imclass.core.errors import BadImage, UserError, require
from imclass.core.model_file import Provenance
from imclass.core.randomness import Draws
from imclass.core.text import printable_text, shorten_name
from imclass.data.augment.measuring import is_measuring_kind
from imclass.data.catalog import open_split
from imclass.data.loader import Batch
from imclass.data.subset import Subset
from imclass.evaluation.score import describe_refusal
from imclass.store.context import Context
from imclass.training.plan import Leg, Splits, plan

MAX_CLASSES = 25  # rows of a sheet of classes; more would not fit on a screen
VIEWED_IMAGES = 10  # rows of a sheet of views
MAX_COLUMNS = 50


def show_dataset(
    name: str,
    out: Path | None,
    context: Context,
    split: str = "train",
    split_seed: int = 0,
    each: int = 8,
    recipe: str | None = None,
) -> tuple[dict[str, Any], str]:
    """Draw `each` images of each class or, with a recipe, `each` augmented views of some images.

    Return a record and a text that describe the picture.
    """
    require(1 <= each <= MAX_COLUMNS, "each", each, f"at least 1 and at most {MAX_COLUMNS}")
    out = default_picture(name, recipe) if out is None else out
    check_target(out, "--out", ".png", is_our_picture)
    config = None if recipe is None else config_for(recipe, context)
    dataset = open_split(name, split, context, replace(config.cut if config else Cut(), seed=split_seed))
    check_place(out, dataset)
    if config is not None:
        config, _ = settle_objectives(replace(config, data=name), dataset, ())
    if len(dataset) == 0:
        raise UserError(f"the split {split} of {name} has no images; choose another split with --split")
    refused: list[Refused] = []
    if config is None:
        sheet = sheet_of_classes(dataset, each, refused)
    else:
        sheet = sheet_of_views(config, dataset, each, refused, context)
    images = len(sheet.rows) if recipe else sum(len(row) for _, row in sheet.rows)
    if images == 0:
        raise UserError(f"no image of the split {split} of {name} can be read; run imclass data check {name}")
    sheet_png(sheet, out)
    record = {
        "name": name,
        "recipe": recipe,
        "split": split,
        "out": str(out),
        "rows": [label for label, _ in sheet.rows],
        "images": images,
        "note": sheet.note,
        "refused": to_json(refused),
    }
    return record, show_text(record)


def show_text(record: Mapping[str, Any]) -> str:
    """Return a picture's record as text: its contents, notes, refused images, and the file."""
    lines = [f"{record['images']:,} images of {printable_text(record['name'])}, split {record['split']}"]
    lines += [f"note: {printable_text(record['note'])}"] if record["note"] else []
    lines += [f"refused: {describe_refusal(Refused(**refused))}" for refused in record["refused"]]
    return "\n".join([*lines, f"picture: {printable_text(record['out'])}"])


def default_picture(name: str, recipe: str | None) -> Path:
    """Return the default path of the picture. It is named after the data and, if there is one, the recipe."""
    place = Path(os.path.abspath(os.path.expanduser(name)))
    stem = place.name if place.is_dir() else place.stem
    return Path(f"{stem or 'data'}-{recipe}.png" if recipe else f"{stem or 'data'}.png")


def check_place(out: Path, dataset: Dataset) -> None:
    """Raise `UserError` if the picture would lie in the data folder, where later commands would read it as an image."""
    if out.resolve().is_relative_to(dataset.origin.path):
        why = f"--out {out} is inside the data folder {dataset.origin.path}, so it would be read as one of its images"
        raise UserError(f"{why}; choose a file outside the data folder")


def config_for(recipe: str, context: Context) -> Training:
    """Return a recipe's config. Nothing is held out for validation, because the data may have a validation split."""
    made = recipes(context)[recipe]()
    if not isinstance(made, Training):
        raise UserError(f"the recipe {recipe!r} returns {type(made).__name__}, not a Training; choose another recipe")
    return replace(made, validation=0.0)


def sheet_of_classes(dataset: Dataset, each: int, refused: list[Refused]) -> Sheet:
    """Return a sheet with a row for each class, up to `MAX_CLASSES`, and up to `each` images in a row."""
    classes = dataset.classes[:MAX_CLASSES]
    rows = []
    for label, members in zip(classes, dataset.targets.by_class(len(dataset.classes)), strict=False):
        some = islice(readable(dataset, random_order(dataset, members), refused), each)
        rows.append((label, [fit_cell(image) for _, image in some]))  # full-size photos would take much memory
    more = len(dataset.classes) > len(classes)
    note = f"the first {len(classes)} of {len(dataset.classes):,} classes" if more else ""
    return Sheet(f"{shorten_name(dataset.origin.name)}: images of each class, split {dataset.split}", rows, note=note)


def random_order(dataset: Dataset, positions: Int64[np.ndarray, "_"]) -> Int64[np.ndarray, "_"]:
    """Return positions in an order that depends only on the images' names."""
    return positions[Draws(0).order(dataset.ids[positions])]


def readable(
    dataset: Dataset, positions: Int64[np.ndarray, "_"], refused: list[Refused]
) -> Iterator[tuple[int, Image]]:
    """Yield the position and pixels of each image that can be read. Add the others to `refused`."""
    for i in positions.tolist():
        try:
            image = dataset[i]
        except BadImage as bad:
            refused.append(Refused(bad.path, bad.code, bad.detail))
        else:
            yield i, image


def sheet_of_views(config: Training, dataset: Dataset, each: int, refused: list[Refused], context: Context) -> Sheet:
    """Return a sheet with a row for each of a few images: its view in evaluation, and its views in `each` epochs."""
    chosen = sorted(i for i, _ in islice(readable(dataset, in_turns(dataset), refused), VIEWED_IMAGES))
    shown = Subset(dataset, np.array(chosen, np.int64), dataset.split, dataset.splits)
    leg = leg_of_views(config, shown, context)
    first = leg.last_epoch - leg.stage.epochs
    epochs = range(first, first + each)
    columns = [chain.from_iterable(leg.loader.views()), *(views_of(next(leg.loader.batches(k))) for k in epochs)]
    step = -1 if leg.preprocess.channels == "bgr" else 1
    labels = [text.replace("\0", ", ") for text in shown.targets.label_texts(dataset.classes)]
    rows = [(label, [view[:, :, ::step] for view in views]) for label, *views in zip(labels, *columns, strict=True)]
    kinds = ", ".join(rule.kind for rule in leg.stage.augment) or "no augmentation"
    stage = f", stage {leg.name}" if len(config.stages) > 1 else ""
    title = f"{shorten_name(dataset.origin.name)} with the recipe {config.recipe}{stage}: {kinds}"
    return Sheet(title, rows, ["image", *(f"epoch {k + 1}" for k in epochs)], facts_note(leg))


def in_turns(dataset: Dataset) -> Int64[np.ndarray, "_"]:
    """Return the positions of all images, one from each class in turn, in random order within each class."""
    order = random_order(dataset, np.arange(len(dataset)))
    rank = np.zeros(len(order), np.int64)
    for members in dataset.targets[order].strata(len(dataset.classes)):
        rank[members] = np.arange(len(members))
    return order[np.argsort(rank, kind="stable")]


def leg_of_views(config: Training, shown: Dataset, context: Context) -> Leg:
    """Return the last leg of the config that changes images or, if none does, the last leg trained by descent.

    All images are in one batch. Values that training computes from all its images are computed from those shown.
    """
    batch = max(2, len(shown))  # batch norm needs at least two images
    stages = tuple(replace(s, batch=batch, micro_batches=1) if s.kind == "descend" else s for s in config.stages)
    config = replace(config, stages=stages)
    legs = plan(config, Splits(shown, ()), Provenance(), Execution(workers=0), context, refuse_scoring)
    descents = [leg for leg in with_facts(legs, facts_of(legs, None)) if leg.stage.kind == "descend"]
    if not descents:
        raise UserError(f"the recipe {config.recipe} does not train on views of images; choose another recipe")
    return next((leg for leg in reversed(descents) if leg.stage.augment), descents[-1])


def refuse_scoring(*_: Any) -> NoReturn:
    """Raise `TypeError`, because a sheet of views scores no split."""
    raise TypeError("a sheet of views scores no split")


def facts_note(leg: Leg) -> str:
    """Return a note if the leg uses means or colours, which come only from the images shown. Otherwise, return ''."""
    depends = leg.mean is not None or any(map(is_measuring_kind, leg.stage.augment))
    return "means and colours are those of the images shown, not of all training images" if depends else ""


def views_of(batch: Batch) -> list[Image]:
    """Return the views of a batch in the order of their positions, H W C with values from 0 to 255."""
    views: dict[int, Image] = {}
    for part in batch.parts.values():
        images = part.images.numpy()
        if images.dtype != np.uint8:  # mixed images, with values from 0 to 1
            images = np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)
        views |= dict(zip(part.positions.tolist(), images.transpose(0, 2, 3, 1), strict=True))
    return [views[i] for i in sorted(views)]
