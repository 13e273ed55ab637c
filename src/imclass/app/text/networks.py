"""A table of networks, as in a paper that compares them, and a table of the layers of one network."""

from collections.abc import Sequence
from typing import Any

from imclass.app.text.columns import record_text, text_table

MINOR_LAYERS = ("ReLU", "Dropout", "Flatten", "Identity")  # kinds of layers that are omitted from a table, as in papers


def networks_table(records: Sequence[dict[str, Any]]) -> str:
    """Return the records as a table at most 100 characters wide, with published errors in %.

    The table does not show the protocol used for an error. The records do.
    """
    return text_table(
        [
            {
                "name": r["name"],
                "year": r["year"],
                "input": "x".join(map(str, r["input"])),
                "parameters": r["parameters"],
                "top-1/5 err": errors_text(r["published"]),
                "paper": r["paper"],
            }
            for r in records
        ]
    )


def errors_text(published: dict[str, Any] | None) -> str | None:
    """Return the published top-1 and top-5 errors, such as "27.0/8.8"."""
    if published is None:
        return None
    return "/".join("-" if published[key] is None else str(published[key]) for key in ("top1", "top5"))


def network_text(record: dict[str, Any]) -> str:
    """Return a network's facts, and a table of its layers without activations and other minor layers."""
    facts = {key: value for key, value in record.items() if key != "layers"}
    rows = [layer_row(layer) for layer in record["layers"] if layer["kind"] not in MINOR_LAYERS]
    return record_text(facts) + "\n\n" + text_table(rows)


def layer_row(layer: dict[str, Any]) -> dict[str, Any]:
    """Return the table cells for a layer."""
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
    """Return "height x width", or a single number if both are equal and `always` is false."""
    if pair is None:
        return None
    height, width = pair
    return f"{height}x{width}" if always or height != width else f"{height:,}"
