"""Checks, made before any work is done, that a command can write its files."""
# Tested in tests/app/cli/test_main.py

from collections.abc import Callable
from pathlib import Path

from imclass.core.errors import UserError


def never_ours(_: Path) -> bool:
    """Return false, so that no existing file is replaced."""
    return False


def check_target(path: Path | None, option: str, suffix: str = "", ours: Callable[[Path], bool] = never_ours) -> None:
    """Raise `UserError` unless a file can be written at `path`.

    The name of the file must end in `suffix`, unless `suffix` is empty. An existing file may be replaced only if `ours`
    returns true for it.
    """
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder; choose a file in it")
    if not path.parent.is_dir():
        problem = f"{option} {path}: the folder {path.parent} does not exist"
        raise UserError(f"{problem}; create the folder first, or choose another one")
    if suffix and path.suffix.lower() != suffix:
        name = path.with_suffix(suffix).name
        raise UserError(f"{option} {path}: the file name must end in {suffix}; use {name}")
    if path.exists() and not ours(path):
        raise UserError(f"{option} {path} already exists; choose another file, or remove the existing one first")
