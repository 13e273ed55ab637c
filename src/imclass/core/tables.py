"""Tables of entries by name, gathered from the modules of a folder and from the user's plugins."""

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imclass.core.errors import UserError
from imclass.core.text import suggestion


@dataclass(frozen=True)
class Plugin:
    """A file of the user's: its module, or why it could not be imported."""

    path: Path
    digest: str  # SHA-256 of its content
    module: types.ModuleType | None = None
    problem: str = ""


@dataclass(frozen=True)
class Plugins:
    """The user's plugin files, in order."""

    files: tuple[Plugin, ...] = ()


def no_explanation(name: str) -> str:
    """Return nothing: no name is known to stand for another kind of thing."""
    return ""


@dataclass(frozen=True)
class EntryTable:
    """The entries of one kind of table, gathered over a folder of modules, and what could not be imported."""

    what: str
    entries: dict[str, Any]
    failures: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of the user's file, by entry
    explain: Callable[[str], str] = no_explanation  # what is wrong with a name that stands for another kind of thing

    def __getitem__(self, name: str) -> Any:
        """The entry; an unknown name is a `UserError` with the nearest known one and any file that failed to import."""
        if name in self.entries:
            return self.entries[name]
        if known := self.explain(name):
            raise UserError(known)
        failed = "".join(f"\n  not imported: {f}" for f in self.failures)
        raise UserError(f"no {self.what} is named {name!r}{suggestion(name, self.entries)}{failed}")

    def plugin_digests(self, name: str) -> dict[str, str]:
        """Return {"network mine": digest} where a plugin defines the entry, else nothing."""
        return {f"{self.what} {name}": self.digests[name]} if name in self.digests else {}


NO_PLUGINS = Plugins()
PLUGIN_PREFIX = "imclass_plugins"  # how the names of plugins' modules begin


def find(package: str, table: str, what: str, plugins: Plugins = NO_PLUGINS) -> EntryTable:
    """Return the union of the dictionaries called `table` in every module of `package` and every plugin.

    A module that fails to import is listed in `failures` and the others still work; a name given twice is a
    `UserError`.
    """
    entries: dict[str, Any] = {}
    owners: dict[str, str] = {}
    digests: dict[str, str] = {}
    failures = [f"{file.path}: {file.problem}" for file in plugins.files if file.module is None]
    theirs = [(str(file.path), file.module, file.digest) for file in plugins.files if file.module is not None]
    for source, module, digest in [*package_modules(package, failures), *theirs]:
        try:
            found = dict(getattr(module, table, {}))
        except Exception as error:  # a table that is none
            failures.append(f"{source}: {problem_of(error)}")
            continue
        for name, entry in found.items():
            if name in owners:
                raise UserError(f"{what} {name!r} is defined twice, in {owners[name]} and in {source}; rename one")
            owners[name], entries[name] = source, entry
            digests |= {name: digest} if digest else {}
    return EntryTable(what, entries, tuple(failures), digests)


def package_modules(package: str, failures: list[str]) -> Iterator[tuple[str, types.ModuleType, str]]:
    """Yield the name of each module of `package`, and the module; note in `failures` those that cannot be imported."""
    folder = importlib.import_module(package)
    for name in sorted(f"{package}.{module.name}" for module in pkgutil.iter_modules(folder.__path__)):
        try:
            yield name, importlib.import_module(name), ""
        except (Exception, SystemExit) as error:  # the others must work
            failures.append(f"{name}: {problem_of(error)}")


def load_plugins(folders: Sequence[Path]) -> Plugins:
    """Return the Python files of the folders, imported; a folder that is not there is a `UserError`."""
    return Plugins(tuple(load_plugin(path) for path in plugin_files(folders)))


def plugin_files(folders: Sequence[Path]) -> list[Path]:
    """Return the Python files of the folders, in order; a folder that is not there is a `UserError`."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--plugins {folder} is not a folder")
    return [path for folder in folders for path in sorted(folder.glob("*.py"))]


def load_plugin(path: Path) -> Plugin:
    """Return a plugin, executed unless this process has executed a file of this path and content before.

    A second execution would make its classes anew, and values of the first would be of another type.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    name = f"{PLUGIN_PREFIX}.{path.stem}_{place[:8]}_{digest[:8]}"  # two folders may both have a file of this name
    if name in sys.modules:
        return Plugin(path, digest, sys.modules[name])
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError("it cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up there to resolve annotations
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a stranger's file raises, the others must work
        sys.modules.pop(name, None)
        return Plugin(path, digest, problem=problem_of(error))
    return Plugin(path, digest, module)


def problem_of(error: BaseException) -> str:
    """Return an exception's kind and message."""
    return f"{type(error).__name__}: {error}"
