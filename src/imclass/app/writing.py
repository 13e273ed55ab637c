"""Places where files are to be written: checked before any work is done for them."""
# Tested in tests/app/cli/test_main.py

from collections.abc import Callable
from pathlib import Path

from imclass.core.errors import UserError


def never_ours(_: Path) -> bool:
    """Return false: no file may be replaced."""
    return False


def check_target(path: Path | None, option: str, suffix: str = "", ours: Callable[[Path], bool] = never_ours) -> None:
    """Raise `UserError` unless a file can be written at `path`, before any work is done for it.

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
