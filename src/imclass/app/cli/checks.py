"""Checks and conversions of options shared by several verbs. They run before any work is done."""
# Tested in tests/app/cli/test_main.py

import json
from pathlib import Path

from imclass.app.cli.arguments import CommonArguments
from imclass.core.errors import UserError, require
from imclass.store.context import Context, open_context
from imclass.store.store import Store, open_store


def context_of(common: CommonArguments, max_megapixels: float | None = None) -> Context:
    """Return the context that the options specify: the store, the plugins, and the maximum size of an image."""
    return open_context(store_of(common), common.plugins, max_megapixels)


def store_of(common: CommonArguments) -> Store:
    """Return the store that the options specify."""
    return open_store(common.store, common.offline)


def check_workers(workers: int) -> None:
    """Raise `UserError` if the number of decoding threads is negative."""
    require(workers >= 0, "workers", workers, "0 or more threads")


def read_class_mapping(path: Path | None) -> dict[str, str] | None:
    """Read a mapping of class names from a JSON file. Return None if `path` is None."""
    if path is None:
        return None
    if not path.is_file():
        raise UserError(f"--classes {path}: the file does not exist")
    try:
        mapping = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        mapping = None
    if not isinstance(mapping, dict) or not all(isinstance(name, str) for name in mapping.values()):
        raise UserError(
            f'--classes {path} must contain a JSON object that maps class names, such as {{"puppy": "dog"}}'
        )
    return mapping
