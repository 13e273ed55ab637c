"""What a command or a call of the public functions works in."""

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
    """The store, and the user's plugins. It is made once, by the command line or a public function, and passed down."""

    store: Store
    plugins: Plugins = Plugins()
    most_pixels: int | None = None  # of an image file that is decoded; None: `data.images.decode` says how many


def open_context(
    store: Store | Location | None = None,
    plugins: Location | Sequence[Location] = (),
    max_megapixels: float | None = None,
) -> Context:
    """Return the context with this store, or the user's, and the plugins of a folder or of several.

    Image files of more than `max_megapixels` million pixels, by default 50, are refused.
    """
    require(
        max_megapixels is None or 0 < max_megapixels < math.inf, "max_megapixels", max_megapixels, "a number above 0"
    )
    folders = [plugins] if isinstance(plugins, str | Path) else plugins
    opened = store if isinstance(store, Store) else open_store(store if store is None else Path(store))
    return Context(opened, load_plugins([Path(folder) for folder in folders]), pixels_in(max_megapixels))


def pixels_in(megapixels: float | None) -> int | None:
    """Return a number of megapixels in pixels."""
    return None if megapixels is None else round(megapixels * 1e6)


def find_in(context: Context | None, package: str, table: str, what: str) -> EntryTable:
    """Return the entries of a kind of table, those of the context's plugins included."""
    return find(package, table, what, context.plugins) if context else find(package, table, what)
