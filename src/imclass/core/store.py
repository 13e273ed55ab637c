"""The store: data and weights kept locally, files put there by hand used first, downloads checked before they count."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Download:
    """A file to be had: where it belongs in the store, where it comes from, and what it must be."""

    path: str  # relative to the store
    url: str  # https only
    sha256: str
    size: int  # bytes


@dataclass(frozen=True)
class Store:
    """A folder of data sets and weights (DESIGN 4.8)."""

    folder: Path
    offline: bool = False
