"""What `data` does to data sets: they are fetched, checked, exported."""
# Tested in tests/app/verbs/test_data.py

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image as Pictures

from imclass.app.cli.answer import show
from imclass.app.cli.arguments import DONE, SOME_REFUSED, Data
from imclass.app.cli.checks import check_workers
from imclass.app.text.columns import plain
from imclass.core.codec import to_json
from imclass.core.config import Cut
from imclass.core.contracts import Dataset, Refused
from imclass.core.errors import BadImage, UserError, need
from imclass.core.files import replacing
from imclass.data.catalog import check_readable, open_split, sources
from imclass.data.source import Place, Source
from imclass.store.context import Context


def get(name: str, own: Data, context: Context) -> dict[str, Any]:
    """Fetch a data set into the store."""
    source: Source = sources(context)[name]
    if source.get is None:
        raise UserError(
            f"{name} needs no fetching, or must be put into {context.store.folder} by hand: {source.summary}"
        )
    source.get(Place(context.store))
    return {"name": name, "store": str(context.store.folder)}


def check(name: str, own: Data, context: Context) -> dict[str, Any]:
    """Decode every image of every split; name those that cannot be used."""
    first = open_split(name, "train", context, Cut(seed=own.split_seed))
    opened = [open_split(name, split, context, Cut(seed=own.split_seed)) for split in first.splits]
    refused = [r for dataset in opened for r in check_readable(dataset, own.workers)]
    return {
        "name": name,
        "classes": list(first.classes),
        "rule": first.origin.rule,
        "images": {dataset.split: len(dataset) for dataset in opened},
        "notes": list(first.origin.notes),
        "refused": to_json(refused),
    }


def export(name: str, own: Data, context: Context) -> dict[str, Any]:
    """Write the first images of a split as PNG files into OUT/CLASS/; OUT must be new. Refused ones are named."""
    need(own.most >= 1, "most", own.most, "at least 1 image")
    if own.out is None:
        raise UserError("name a new folder with --out")
    if own.out.exists() and not (own.out.is_dir() and not any(own.out.iterdir())):
        raise UserError(f"--out {own.out} is there already; name a new or an empty folder")
    dataset = open_split(name, own.split or "test", context, Cut(seed=own.split_seed))
    first = range(min(own.most, len(dataset)))
    refused = [bad for i in first if (bad := write_png(dataset, i, own.out)) is not None]
    return {"name": name, "out": str(own.out), "images": len(first) - len(refused), "refused": to_json(refused)}


def write_png(dataset: Dataset, i: int, out: Path) -> Refused | None:
    """One image as OUT/CLASS/INDEX.png; or why it is refused."""
    try:
        image, label = dataset[i]
    except BadImage as bad:
        return Refused(bad.path, bad.code, bad.detail)
    folder = out / dataset.classes[label].replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{i:05d}.png") as file:
        Pictures.fromarray(image[:, :, 0] if image.shape[2] == 1 else np.asarray(image)).save(file, format="PNG")
    return None


ACTS: Mapping[str, Callable[[str, Data, Context], dict[str, Any]]] = MappingProxyType(
    {"get": get, "check": check, "export": export}
)


def act(own: Data, context: Context) -> int:
    """Fetch, check or export a data set."""
    if own.name is None:
        raise UserError(f"name a data set: imclass data {own.what} NAME")
    check_workers(own.workers)
    record = ACTS[str(own.what)](own.name, own, context)
    show(record) if own.common.json else print(plain(record))
    return SOME_REFUSED if record.get("refused") else DONE
