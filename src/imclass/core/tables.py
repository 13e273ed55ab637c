"""Tables of entries by name, gathered from the modules of a folder and from the user's plugins."""

import importlib
import importlib.util
import pkgutil
import sys
import types
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imclass.core.errors import UserError
from imclass.core.text import nearest


@dataclass(frozen=True)
class Found:
    """The entries of one kind of table, gathered over a folder of modules, and what could not be imported."""

    what: str
    entries: dict[str, Any]
    failures: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        """The entry; an unknown name is a `UserError` with the nearest known one and any file that failed to import."""
        if name in self.entries:
            return self.entries[name]
        failed = "".join(f"\n  not imported: {f}" for f in self.failures)
        raise UserError(f"no {self.what} is named {name!r}{nearest(name, self.entries)}{failed}")


def find(package: str, table: str, what: str, plugins: Sequence[Path] = ()) -> Found:
    """The union of the dictionaries called `table` in every module of `package` and every .py file of plugin folders.

    A module that fails to import is listed in `failures` and the others still work; a name given twice is a
    `UserError`.
    """
    folder = importlib.import_module(package)
    names = [f"{package}.{m.name}" for m in pkgutil.iter_modules(folder.__path__)]
    entries: dict[str, Any] = {}
    owners: dict[str, str] = {}
    failures: list[str] = []
    sources: list[str | Path] = [*sorted(names), *plugin_files(plugins)]
    for source in sources:
        try:
            module = import_file(source) if isinstance(source, Path) else importlib.import_module(source)
            found = dict(getattr(module, table, {}))
        except (Exception, SystemExit) as error:  # whatever a stranger's file raises, the others must work
            failures.append(f"{source}: {type(error).__name__}: {error}")
            continue
        for name, entry in found.items():
            if name in owners:
                raise UserError(f"{what} {name!r} is defined twice, in {owners[name]} and in {source}; rename one")
            owners[name], entries[name] = str(source), entry
    return Found(what, entries, tuple(failures))


def plugin_files(folders: Sequence[Path]) -> list[Path]:
    """The Python files of the plugin folders; a folder that is not there is a `UserError`."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--plugins {folder} is not a folder")
    return [path for folder in folders for path in sorted(folder.glob("*.py"))]


def import_file(path: Path) -> types.ModuleType:
    """The module in a file of the user's plugin folder."""
    name = f"imclass_plugins.{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"  # two folders may both have it
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there to resolve annotations
    spec.loader.exec_module(module)
    return module
