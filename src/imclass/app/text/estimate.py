"""The estimate of a dry run, as text for a terminal."""
# Tested in tests/app/runs/test_estimate.py

from collections.abc import Mapping
from typing import Any

from imclass.app.text.columns import text_table
from imclass.core.text import duration_text, size_text


def estimate_text(record: Mapping[str, Any]) -> str:
    """Return a table of the stages, then lines with time, memory and disk space, then the warnings."""
    rows = [
        {
            "stage": stage["name"],
            "epochs": stage["epochs"],
            "steps": stage["steps"],
            "features": stage["features"] or None,
            "time": time_text(stage["seconds"]),
        }
        for stage in record["stages"]
    ]
    lines = [
        f"Estimate from steps of a few images ({record['runtime']}). Other work on this machine makes the run slower.",
        text_table(rows),
        f"time: {time_text(record['seconds'])}",
        f"memory: {need_text(record['memory'])}",
        f"disk space for checkpoints and models: {need_text(record['disk'])}",
    ]
    if record["store"]["needed"]:
        lines.append(f"disk space for features in the store: {need_text(record['store'])}")
    if fetch := record["fetch"]:
        size = f"about {size_text(fetch['size'])}, licence {fetch['licence']}"
        lines.append(f"download: {fetch['name']} ({size}) from {fetch['url']}; random weights were measured instead")
    return "\n".join([*lines, *(f"warning: {text}" for text in record["warnings"])])


def time_text(seconds: float | None) -> str:
    """Return a duration, or "unknown"."""
    return "unknown" if seconds is None else f"about {duration_text(seconds)}"


def need_text(need: Mapping[str, int | None]) -> str:
    """Return how much is needed, or "unknown", and how much is available if this is known."""
    needed = "unknown" if need["needed"] is None else f"about {size_text(need['needed'])}"
    return needed if need["available"] is None else f"{needed}, {size_text(need['available'])} available"
