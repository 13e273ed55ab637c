"""The context of a command or of a call to a public function: the store, the plugins and the image size limit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from imclass.core.errors import require
from imclass.core.tables import EntryTable, Plugins, find, load_plugins
from imclass.store.store import Store, open_store

Location: TypeAlias = str | Path


@dataclass(frozen=True)
class Context:
    """The store, the plugins and the image size limit, set once by a command or a public function and passed down."""

    store: Store
    plugins: Plugins = Plugins()
    max_pixels: int | None = None  # in the largest image to decode; None: the default in `data.images.decode`


def open_context(
    store: Store | Location | None = None,
    plugins: Location | Sequence[Location] = (),
    max_megapixels: float | None = None,
) -> Context:
    """Return a context with a store (by default the user's) and the plugins from the given folders.

    Image files with more than `max_megapixels` million pixels (by default 50) are refused.
    """
    in_range = max_megapixels is None or 0 < max_megapixels < math.inf
    require(in_range, "max_megapixels", max_megapixels, "a number above 0")
    folders = [plugins] if isinstance(plugins, str | Path) else plugins
    if not isinstance(store, Store):
        store = open_store(None if store is None else Path(store))
    return Context(store, load_plugins([Path(folder) for folder in folders]), pixels_in(max_megapixels))


def pixels_in(megapixels: float | None) -> int | None:
    """Convert megapixels to pixels."""
    return None if megapixels is None else round(megapixels * 1e6)


def find_in(context: Context | None, package: str, table: str, what: str) -> EntryTable:
    """Return the union of the tables called `table` in `package` and in the context's plugins."""
    return find(package, table, what, context.plugins) if context else find(package, table, what)
