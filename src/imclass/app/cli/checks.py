"""What several verbs ask of their options before any work is done."""
# Tested in tests/app/cli/test_main.py

import json
from collections.abc import Callable
from pathlib import Path

from imclass.app.cli.arguments import Common
from imclass.core.errors import UserError, need
from imclass.store.context import Context, open_context
from imclass.store.store import open_store


def context_of(common: Common, max_megapixels: float | None = None) -> Context:
    """Return the context that the options name: the store, the plugins, and the largest image."""
    return open_context(open_store(common.store, common.offline), common.plugins, max_megapixels)


def check_workers(workers: int) -> None:
    """A `UserError` for fewer decoding threads than none."""
    need(workers >= 0, "workers", workers, "0 or more threads")


def never(_: Path) -> bool:
    """No file may be replaced."""
    return False


def check_target(path: Path | None, option: str, suffix: str = "", ours: Callable[[Path], bool] = never) -> None:
    """A file can be written at `path`; otherwise a `UserError`, before any work is done for it.

    What it holds asks for a `suffix`, where one is given. A file that is there is replaced only if it is `ours`.
    """
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"{option} {path}: there is no folder {path.parent}; make it first, or name another")
    if suffix and path.suffix.lower() != suffix:
        raise UserError(f"{option} {path}: what is written there is {suffix}; name it {path.with_suffix(suffix).name}")
    if path.exists() and not ours(path):
        raise UserError(f"{option} {path} is there already; name another file, or remove it first")


def mapping_in(path: Path | None) -> dict[str, str] | None:
    """The class mapping in a JSON file."""
    if path is None:
        return None
    if not path.is_file():
        raise UserError(f"--classes {path}: there is no such file")
    try:
        mapping = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        mapping = None
    if not isinstance(mapping, dict) or not all(isinstance(name, str) for name in mapping.values()):
        raise UserError(f'--classes {path} must be a JSON object of names, such as {{"puppy": "dog"}}')
    return mapping
