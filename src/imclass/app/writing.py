"""Checks on the files that a verb will write, made before any work is done."""
# Tested in tests/app/cli/test_main.py

from collections.abc import Callable
from pathlib import Path

from imclass.core.errors import UserError


def never_ours(_: Path) -> bool:
    """Return false, so that no file is replaced."""
    return False


def check_target(path: Path | None, option: str, suffix: str = "", ours: Callable[[Path], bool] = never_ours) -> None:
    """Raise `UserError` unless a file can be written at `path`.

    Its name must end in `suffix`, if one is given. An existing file may be replaced only if it is `ours`.
    """
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"{option} {path}: the folder {path.parent} does not exist; make it first, or name another one")
    if suffix and path.suffix.lower() != suffix:
        name = path.with_suffix(suffix).name
        raise UserError(f"{option} {path}: the file must end in {suffix}; name it {name}")
    if path.exists() and not ours(path):
        raise UserError(f"{option} {path} already exists; name another file, or remove it first")
