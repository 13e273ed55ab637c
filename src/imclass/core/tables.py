"""Tables of entries keyed by name, collected from the modules of a package and from plugins."""

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

from imclass.core.errors import UnknownEntry, UserError
from imclass.core.text import suggestion

NO_FILE = "no file"  # the digest of classes that a Python call passed in


@dataclass(frozen=True)
class Plugin:
    """A plugin file: its module, or the problem that prevented its import."""

    path: Path
    digest: str  # SHA-256 of the file's content, or `NO_FILE`
    module: types.ModuleType | None = None
    problem: str = ""


@dataclass(frozen=True)
class Plugins:
    """The plugin files, in the order in which they were loaded."""

    files: tuple[Plugin, ...] = ()


def no_explanation(name: str) -> str:
    """Return "", so that a table uses its default message for an unknown name."""
    return ""


@dataclass(frozen=True)
class EntryTable:
    """A table of entries of one kind, such as networks, keyed by name.

    `failures` describes the modules that could not be imported.
    """

    what: str  # the kind of entry in messages, such as "network"
    entries: dict[str, Any]
    failures: tuple[str, ...] = ()  # for each module that could not be imported, its name and the problem
    digests: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of the plugin file, keyed by entry
    explain: Callable[[str], str] = no_explanation  # returns the message for an unknown name, or "" for the default

    def __getitem__(self, name: str) -> Any:
        """Return an entry. For an unknown name, raise a `UserError` that suggests a name and lists failed imports."""
        if name in self.entries:
            return self.entries[name]
        if explanation := self.explain(name):
            raise UnknownEntry(explanation)
        failed = "".join(f"\n  not imported: {f}" for f in self.failures)
        raise UnknownEntry(f"no {self.what} is named {name!r}{suggestion(name, self.entries)}{failed}")

    def plugin_digests(self, name: str) -> dict[str, str]:
        """Return {"network mine": digest} if a plugin defines the entry "mine", else an empty dictionary."""
        return {f"{self.what} {name}": self.digests[name]} if name in self.digests else {}


NO_PLUGINS = Plugins()
PLUGIN_PREFIX = "imclass_plugins"  # prefix of plugins' module names


def find(package: str, table: str, what: str, plugins: Plugins = NO_PLUGINS) -> EntryTable:
    """Return the union of the dictionaries called `table` in all modules of `package` and all plugins.

    A module that fails to import is listed in `failures`, and the others still work. Raise `UserError` if two modules
    define the same name.
    """
    entries: dict[str, Any] = {}
    owners: dict[str, str] = {}
    digests: dict[str, str] = {}
    failures = [f"{file.path}: {file.problem}" for file in plugins.files if file.module is None]
    plugin_modules = [(str(file.path), file.module, file.digest) for file in plugins.files if file.module is not None]
    for source, module, digest in [*package_modules(package, failures), *plugin_modules]:
        try:
            found = dict(getattr(module, table, {}))
        except Exception as error:  # not a dictionary
            failures.append(f"{source}: {problem_of(error)}")
            continue
        for name, entry in found.items():
            if name in owners:
                raise UserError(f"{what} {name!r} is defined twice, in {owners[name]} and in {source}; rename one")
            owners[name], entries[name] = source, entry
            if digest:
                digests[name] = digest
    return EntryTable(what, entries, tuple(failures), digests)


def package_modules(package: str, failures: list[str]) -> Iterator[tuple[str, types.ModuleType, str]]:
    """Yield the name, the module and an empty digest for each module in `package`. Add failed imports to `failures`."""
    folder = importlib.import_module(package)
    for name in sorted(f"{package}.{module.name}" for module in pkgutil.iter_modules(folder.__path__)):
        try:
            yield name, importlib.import_module(name), ""
        except (Exception, SystemExit) as error:  # the other modules must still work
            failures.append(f"{name}: {problem_of(error)}")


def load_plugins(folders: Sequence[Path]) -> Plugins:
    """Import the Python files in the folders. Raise `UserError` for a folder that does not exist."""
    return Plugins(tuple(load_plugin(path) for path in plugin_files(folders)))


def plugin_files(folders: Sequence[Path]) -> list[Path]:
    """Return the Python files in the folders, sorted by name. Raise `UserError` for a folder that does not exist."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--plugins {folder} is not a folder; give a folder with Python files")
    return [path for folder in folders for path in sorted(folder.glob("*.py"))]


def load_plugin(path: Path) -> Plugin:
    """Import a plugin file, unless this process has already imported it with the same content.

    A second import would create the plugin's classes again, and existing instances would not belong to the new classes.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    path_digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    name = f"{PLUGIN_PREFIX}.{path.stem}_{path_digest[:8]}_{digest[:8]}"  # files in two folders may have the same name
    if name in sys.modules:
        return Plugin(path, digest, sys.modules[name])
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError("it cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look up their module here to resolve annotations
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the other plugins must still work
        sys.modules.pop(name, None)
        return Plugin(path, digest, problem=problem_of(error))
    return Plugin(path, digest, module)


def problem_of(error: BaseException) -> str:
    """Return an exception's type and message."""
    return f"{type(error).__name__}: {error}"
