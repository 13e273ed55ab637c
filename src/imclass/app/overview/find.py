"""The search for runs in folders."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from imclass.core.errors import UserError


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Return the runs in the given folders, each of which is a run or contains runs at any depth, in order of name.

    Hidden folders, and folders within a run, are not searched. Raise `UserError` if a folder contains no run.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            problem = f"{folder} is a file" if folder.exists() else f"{folder} does not exist"
            raise UserError(f"{problem}; pass a run, or a folder that contains runs")
        runs = runs_below(folder)
        if not runs:
            raise UserError(f"{folder} contains no run; pass a run, or a folder that contains runs")
        for run in runs:
            found.setdefault(run.resolve(), run)
    return list(found.values())


def runs_below(folder: Path) -> list[Path]:
    """Return the runs at or below a folder, in order of name."""
    found = []
    for place, inside, _ in os.walk(folder):
        if is_listed_run(Path(place)):
            found.append(Path(place))
            inside.clear()
        inside[:] = [name for name in inside if not name.startswith(".")]
    return sorted(found, key=natural_key)


def is_listed_run(folder: Path) -> bool:
    """Return whether a folder is a run: its config.json has the form of a run's, or it is damaged but there is a log.

    Other programs also write files called config.json.
    """
    config = folder / "config.json"
    try:
        record = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return (folder / "log.jsonl").is_file() and (config.exists() or (folder / ".lock").exists())
    configured = isinstance(record, dict) and {"execution", "format"} <= set(record)
    return configured and bool({"training", "fitting"} & set(record))


def natural_key(path: Path) -> list[tuple[float, str]]:
    """Return a key that sorts names by their words and numbers, so that "seed-2" comes before "seed-10"."""
    words = re.split(r"(\d+(?:\.\d+)?)", str(path))  # every second word is a number
    return [(float(word), "") if i % 2 else (-1.0, word) for i, word in enumerate(words)]
