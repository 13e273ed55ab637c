"""What there is: recipes, data sets, and what a model file holds; as rows for a table or for JSON."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from imclass.app.arguments import Data
from imclass.app.train import recipes as all_recipes
from imclass.core.codec import flatten, to_json
from imclass.core.contracts import Dataset, Refused
from imclass.core.errors import BadImage, UserError, need
from imclass.core.files import file_digest, replacing
from imclass.core.tables import Found
from imclass.core.text import printable
from imclass.data.catalog import check_readable, open_split, sources
from imclass.data.source import Place, Source
from imclass.evaluation import unpack
from imclass.evaluation.ensemble import Ensemble
from imclass.models.classifier import model_file
from imclass.store.store import Store


@dataclass(frozen=True)
class Listing:
    """Rows of a table, more on each entry by name, and files that could not be imported."""

    rows: list[dict[str, Any]]
    details: Callable[[str], dict[str, Any]]
    failures: tuple[str, ...]


def recipes(plugins: Sequence[Path]) -> Listing:
    """The recipes: name, network, data set, epochs, and the first line of their docstring."""
    found: Found = all_recipes(plugins)
    made, failures = {}, list(found.failures)
    for name, make in found.entries.items():
        try:
            made[name] = make()
        except Exception as error:  # a stranger's function; the others must be listed
            failures.append(f"recipe {name}: {type(error).__name__}: {error}")
    rows = [
        {
            "name": name,
            "network": config.model.network,
            "data": config.data,
            "epochs": sum(stage.epochs for stage in config.stages),
            "summary": (inspect.getdoc(found.entries[name]) or "").split("\n")[0],
        }
        for name, config in made.items()
    ]
    return Listing(
        rows,
        lambda name: {"about": inspect.getdoc(found.entries[name]), "config": to_json(made[name])},
        tuple(failures),
    )


def datasets(plugins: Sequence[Path]) -> Listing:
    """The data sets: name, splits, licence, summary."""
    found = sources(plugins)
    entries: dict[str, Source] = found.entries
    rows = [
        {
            "name": name,
            "splits": list(s.splits),
            "licence": s.licence,
            "download": s.get is not None,
            "summary": s.summary,
        }
        for name, s in entries.items()
    ]
    return Listing(rows, lambda name: {}, found.failures)


def info(path: Path, plugins: Sequence[Path]) -> dict[str, Any]:
    """Everything a model file holds beside its tensors, and their number."""
    file = model_file(path)
    classifier = unpack.load(file, plugins)
    parameters = sum(p.numel() for one in unpack.networks_of(classifier) for p in one.network.parameters())
    header = to_json(classifier.header)
    if not isinstance(classifier, Ensemble):
        del header["members"], header["temperature"]
    return {"file": str(file), "sha256": file_digest(file), "parameters": parameters, **header}


def get(name: str, own: Data, store: Store) -> dict[str, Any]:
    """Fetch a data set into the store."""
    source: Source = sources(own.common.plugins)[name]
    if source.get is None:
        raise UserError(f"{name} needs no fetching, or must be put into {store.folder} by hand: {source.summary}")
    source.get(Place(store))
    return {"name": name, "store": str(store.folder)}


def check(name: str, own: Data, store: Store) -> dict[str, Any]:
    """Decode every image of every split; name those that cannot be used."""
    first = open_split(name, "train", store, own.seed, own.common.plugins)
    opened = [open_split(name, split, store, own.seed, own.common.plugins) for split in first.splits]
    refused = [r for dataset in opened for r in check_readable(dataset, own.workers)]
    return {
        "name": name,
        "classes": list(first.classes),
        "rule": first.origin.rule,
        "images": {dataset.split: len(dataset) for dataset in opened},
        "notes": list(first.origin.notes),
        "refused": to_json(refused),
    }


def export(name: str, own: Data, store: Store) -> dict[str, Any]:
    """Write the first images of a split as PNG files into OUT/CLASS/; OUT must be new. Refused ones are named."""
    need(own.most >= 1, "most", own.most, "at least 1 image")
    if own.out is None:
        raise UserError("name a new folder with --out")
    if own.out.exists() and not (own.out.is_dir() and not any(own.out.iterdir())):
        raise UserError(f"--out {own.out} is there already; name a new or an empty folder")
    dataset = open_split(name, own.split or "test", store, own.seed, own.common.plugins)
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


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as aligned columns."""
    if not rows:
        return "none"
    cells = [[key for key in rows[0]], *[[cell(row[key]) for key in row] for row in rows]]
    wide = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(text.ljust(w) for text, w in zip(line, wide, strict=True)).rstrip() for line in cells)


def cell(value: Any) -> str:
    """A value as the text of a table's cell."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 1900 <= value < 2100 else f"{value:,}"
    if isinstance(value, list) and any(isinstance(v, float) for v in value):
        return " / ".join("-" if v is None else str(v) for v in value)
    if isinstance(value, list):
        return " x ".join(map(str, value)) if all(isinstance(v, int) for v in value) else ", ".join(map(str, value))
    return "-" if value is None else printable(str(value))


def plain(record: Mapping[str, Any]) -> str:
    """A record as lines "key: value"."""
    lines = []
    for key, value in flatten(record).items():
        several = isinstance(value, list | tuple)
        text = ", ".join("-" if v is None else str(v) for v in value) if several else str(value)
        lines.append(f"{key}: " + "\n".join(printable(line) for line in text.split("\n")))
    return "\n".join(lines)
