"""What a command or a call of the public functions works in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from imclass.core.tables import Found, Plugins, find, load_plugins
from imclass.store.store import Store, open_store

Location: TypeAlias = str | Path


@dataclass(frozen=True)
class Context:
    """The store, and the user's plugins. It is made once, by the command line or a public function, and passed down."""

    store: Store
    plugins: Plugins = Plugins()


def open_context(store: Store | Location | None = None, plugins: Location | Sequence[Location] = ()) -> Context:
    """Return the context with this store, or the user's own, and the plugins of a folder or of several."""
    folders = [plugins] if isinstance(plugins, str | Path) else plugins
    opened = store if isinstance(store, Store) else open_store(store if store is None else Path(store))
    return Context(opened, load_plugins([Path(folder) for folder in folders]))


def find_in(context: Context | None, package: str, table: str, what: str) -> Found:
    """Return the entries of a kind of table, those of the context's plugins included."""
    return find(package, table, what, context.plugins) if context else find(package, table, what)
