"""Networks as tables: the list like a paper's comparison, and one with its layers."""

from collections.abc import Sequence
from typing import Any

from imclass.app.text.columns import record_text, text_table

MINOR_LAYERS = ("ReLU", "Dropout", "Flatten", "Identity")  # kinds of layers that a paper's table leaves out


def networks_table(records: Sequence[dict[str, Any]]) -> str:
    """Return the records as a table of at most 100 columns, with published errors in %.

    By which protocol each error was published stands in the record of the network.
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
    """Published errors side by side."""
    if published is None:
        return None
    return "/".join("-" if published[key] is None else str(published[key]) for key in ("top1", "top5"))


def network_text(record: dict[str, Any]) -> str:
    """One network: its facts, then its layers, those left out that change neither shape nor cost."""
    facts = {key: value for key, value in record.items() if key != "layers"}
    rows = [layer_row(layer) for layer in record["layers"] if layer["kind"] not in MINOR_LAYERS]
    return record_text(facts) + "\n\n" + text_table(rows)


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
