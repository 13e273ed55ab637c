"""What a command or a call of the public functions works in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imclass.core.tables import Found, Plugins, find, load_plugins
from imclass.store.store import Store, open_store


@dataclass(frozen=True)
class Context:
    """The store, and the user's plugins. It is made once, by the command line or a public function, and passed down."""

    store: Store
    plugins: Plugins = Plugins()


def open_context(store: Store | None = None, plugins: Sequence[str | Path] = ()) -> Context:
    """Return the context with this store, or the user's own, and the plugins of these folders."""
    return Context(store or open_store(), load_plugins([Path(folder) for folder in plugins]))


def find_in(context: Context | None, package: str, table: str, what: str) -> Found:
    """Return the entries of a kind of table, those of the context's plugins included."""
    return find(package, table, what, context.plugins) if context else find(package, table, what)
