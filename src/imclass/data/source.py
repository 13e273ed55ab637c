"""Entries of `DATASETS`: how a data set is opened, and where it is looked for."""
# Tested in tests/data/test_catalog.py

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imclass.core.config import Share
from imclass.core.contracts import Dataset
from imclass.store.store import Store


@dataclass(frozen=True)
class Place:
    """Where to look for a data set: the store, or the user's own path; and how to split what has no split."""

    store: Store
    path: Path | None = None
    split_seed: int = 0
    split: Share = Share()
    most_pixels: int | None = None  # of an image file that is decoded


@dataclass(frozen=True)
class Source:
    """An entry of `DATASETS`: how to open one split, and what `imclass data` says of it."""

    open: Callable[[Place, str], Dataset]
    summary: str
    splits: tuple[str, ...] = ("train", "test")
    licence: str = ""
    get: Callable[[Place], None] | None = None  # fetch it into the store; None where there is nothing to fetch
