"""Networks as tables: the list like a paper's comparison, and one with its layers."""

from collections.abc import Sequence
from typing import Any

from imclass.app.text.columns import plain, table

QUIET = ("ReLU", "Dropout", "Flatten", "Identity")  # kinds of layers that a paper's table leaves out


def comparison(records: Sequence[dict[str, Any]]) -> str:
    """Return the records as a table of at most 100 columns, with published errors in %.

    By which protocol each error was published stands in the record of the network.
    """
    return table(
        [
            {
                "name": r["name"],
                "year": r["year"],
                "input": "x".join(map(str, r["input"])),
                "parameters": r["parameters"],
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


def in_detail(record: dict[str, Any]) -> str:
    """One network: its facts, then its layers, those left out that change neither shape nor cost."""
    facts = {key: value for key, value in record.items() if key != "layers"}
    rows = [layer_row(layer) for layer in record["layers"] if layer["kind"] not in QUIET]
    return plain(facts) + "\n\n" + table(rows)


def layer_row(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer's line; height and width are told apart where they differ."""
    return {
        "layer": layer["name"],
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
