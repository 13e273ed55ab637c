"""The verb `models`: the networks there are, each measured."""

import sys
from typing import Any

import torch

from imclass.app.cli.answer import show
from imclass.app.cli.arguments import DONE, Models
from imclass.app.cli.checks import context_of
from imclass.app.runs.progress import counting
from imclass.app.text.networks import comparison, in_detail
from imclass.core.codec import to_json
from imclass.core.tables import Found
from imclass.models import classifier
from imclass.models.analysis.geometry import Geometry, measure
from imclass.models.entry import NetworkEntry, native_size
from imclass.store.context import Context


def everything(context: Context) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """A record for each network, and why some could not be built or measured."""
    found = classifier.networks(context)
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


def one(name: str, context: Context) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The record of one network with its row and its layers; an unknown name is a `UserError`."""
    found: Found = classifier.networks(context)
    entry: NetworkEntry = found[name]
    geometry = outline(entry)
    further = {"stride": geometry.stride, "activations": geometry.activations, "row": to_json(entry.row)}
    layers = {"layers": to_json(geometry.layers)}
    return record(name, entry, geometry) | further | layers, found.failures


def outline(entry: NetworkEntry) -> Geometry:
    """The geometry of a network as its paper has it, without memory for its weights."""
    with torch.device("meta"):
        network = entry.build(entry.row, entry.classes, entry.w_in)
    return measure(network)


def record(name: str, entry: NetworkEntry, geometry: Geometry) -> dict[str, Any]:
    """What the list says of a network: `receptive_field` in pixels is that of a position of its last maps."""
    size = native_size(entry.row, name)
    return {
        "name": name,
        "paper": entry.paper,
        "year": entry.year,
        "input": [entry.w_in, size, size],
        "parameters": geometry.parameters,
        "macs": geometry.macs,
        "receptive_field": geometry.receptive_field,
        "published": to_json(entry.result),
    }


def run(own: Models) -> int:
    """List networks, or one with its layers."""
    context = context_of(own.common)
    found, failures = one(own.name, context) if own.name else everything(context)
    for failure in failures:
        print(f"note: not usable: {failure}", file=sys.stderr)
    if own.common.json:
        show(found)
    else:
        print(comparison(found) if isinstance(found, list) else in_detail(found))
    return DONE
