"""The networks there are, each measured: as records for JSON, and as tables like those of the papers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from imclass.app.listing import plain, table
from imclass.app.progress import counting
from imclass.core.codec import to_json
from imclass.core.tables import Found
from imclass.models import classifier
from imclass.models.entry import Entry
from imclass.models.geometry import Geometry, measure

QUIET = ("ReLU", "Dropout", "Flatten", "Identity")  # kinds of layers that a paper's table leaves out


def everything(plugins: Sequence[Path]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """A record for each network, and why some could not be built or measured."""
    found = classifier.networks(plugins)
    records, failures = [], list(found.failures)
    with counting("measuring", "networks") as report:
        for i, (name, entry) in enumerate(found.entries.items()):
            if report:
                report(i, len(found.entries))
            try:
                records.append(record(name, entry, outline(entry)))
            except Exception as error:  # a stranger's network; the others must be listed
                failures.append(f"network {name}: {type(error).__name__}: {error}")
    return records, tuple(failures)


def one(name: str, plugins: Sequence[Path]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The record of one network with its row and its layers; an unknown name is a `UserError`."""
    found: Found = classifier.networks(plugins)
    entry: Entry = found[name]
    geometry = outline(entry)
    further = {"stride": geometry.stride, "activations": geometry.activations, "row": to_json(entry.row)}
    layers = {"layers": to_json(geometry.layers)}
    return record(name, entry, geometry) | further | layers, found.failures


def outline(entry: Entry) -> Geometry:
    """The geometry of a network as its paper has it, without memory for its weights."""
    with torch.device("meta"):
        network = entry.build(entry.row, entry.classes, entry.w_in)
    return measure(network)


def record(name: str, entry: Entry, geometry: Geometry) -> dict[str, Any]:
    """What the list says of a network: `receptive_field` in pixels is that of a position of its last maps."""
    return {
        "name": name,
        "paper": entry.paper,
        "year": entry.year,
        "input": [entry.w_in, entry.size, entry.size],
        "parameters": geometry.parameters,
        "macs": geometry.macs,
        "receptive_field": geometry.receptive_field,
        "published": to_json(entry.published),
    }


def comparison(records: Sequence[dict[str, Any]]) -> str:
    """The records as a table of 100 columns: multiply-adds in millions, receptive field in pixels, errors in %.

    By which protocol each error was published stands in the record of the network.
    """
    return table(
        [
            {
                "name": r["name"],
                "year": r["year"],
                "input": "x".join(map(str, r["input"])),
                "parameters": r["parameters"],
                "M macs": millions(r["macs"]),
                "rf": str(r["receptive_field"]),
                "top-1/5 err": errors(r["published"]),
                "paper": r["paper"],
            }
            for r in records
        ]
    )


def errors(published: dict[str, Any] | None) -> str | None:
    """Published errors side by side."""
    if published is None:
        return None
    return "/".join("-" if published[key] is None else str(published[key]) for key in ("top1", "top5"))


def millions(macs: int) -> str:
    """Multiply-adds, in millions."""
    return f"{macs / 1e6:,.0f}" if macs >= 1e8 else f"{macs / 1e6:.3g}"


def in_detail(record: dict[str, Any]) -> str:
    """One network: its facts, then its layers, those left out that change neither shape nor cost."""
    facts = {key: value for key, value in record.items() if key != "layers"}
    rows = [layer_row(layer) for layer in record["layers"] if layer["kind"] not in QUIET]
    return plain(facts) + "\n\n" + table(rows)


def layer_row(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer's line; height and width are told apart where they differ."""
    return {
        "layer": layer["name"].removeprefix("features."),
        "kind": layer["kind"],
        "kernel": extent(layer["kernel"], always=True),
        "output": "x".join(map(str, layer["output"])),
        "parameters": layer["parameters"],
        "macs": layer["macs"],
        "rf": extent(layer["receptive_field"]),
        "stride": extent(layer["stride"]),
    }


def extent(pair: Sequence[int] | None, always: bool = False) -> str | None:
    """Height x width, or the one number that both are."""
    if pair is None:
        return None
    height, width = pair
    return f"{height}x{width}" if always or height != width else f"{height:,}"
