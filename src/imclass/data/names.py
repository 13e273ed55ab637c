"""Rules for the names of images, hidden files and split folders, and ids computed from the names of images."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath

import numpy as np
from jaxtyping import Int64

from imclass.core.text import nfc_form

IMAGE_SUFFIXES = (
    *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "ppm", "pgm", "pbm", "pnm"),
    *("heic", "heif"),  # without the `heic` extra, these are reported as refused rather than skipped silently
)
LITTER = frozenset(
    {
        "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",  # desktops
        "lost+found", "system volume information", "$recycle.bin", "found.000",  # roots of disks
        "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot",  # network storage
    }
)  # fmt: skip
SPLITS = ("train", "validation", "test")
# Matches "Training", "test_set", "val-images", "imgs_train" and "testing data", but not "seg_train" or "test tube".
SPLIT_NAME = re.compile(
    r"(?:(?:images?|imgs?|data)[ _.-]*)?"
    r"(?:(?P<train>train(?:ing)?)|(?P<validation>val|valid|validat(?:ion|e|ing)|dev)|(?P<test>test(?:ing)?))s?"
    r"(?:[ _.-]*(?:sets?|data|datasets?|images?|imgs?|folder|dir|split|samples?|pictures?|photos?))*"
)
URL = re.compile(r"(?:https?|ftp|file|s3|gs):/", re.IGNORECASE)
SPLIT_LIKE = re.compile(r"train|test|val|dev|eval|hold.?out|fold|split")  # names that may mean a split

LARGEST_ID = (1 << 63) - 1  # ids have 63 bits, so that they fit in int64 and are not negative


def is_hidden(name: str) -> bool:
    """Return whether files and folders with this name are skipped.

    Names that begin with a dot are skipped, and so are names that operating systems use, such as "Thumbs.db".
    """
    return name.startswith(".") or name.casefold() in LITTER


def is_url(name: str) -> bool:
    """Return whether `name` is a URL, such as https://... or s3://..."""
    return URL.match(name) is not None  # the pattern needs only one slash, because a `Path` merges two into one


def is_image(name: str) -> bool:
    """Return whether a file name has the extension of an image format."""
    return os.path.splitext(name)[1][1:].lower() in IMAGE_SUFFIXES  # PurePath would take ten times as long


def split_of(name: str) -> str | None:
    """Return the split that a folder of this name contains, such as "train" for "Training_Set", or None."""
    found = SPLIT_NAME.fullmatch(name.casefold())
    return found.lastgroup if found else None


def is_split_like(name: str) -> bool:
    """Return whether the name of a folder suggests a split, even if it could also be a class: "seg_train", "fold 3"."""
    return SPLIT_LIKE.search(name.casefold()) is not None


def ids_of(names: Sequence[str]) -> Int64[np.ndarray, "N"]:
    """Return the id of each name: 63 bits of the SHA-256 of its Unicode NFC form.

    Linux allows two names with the same NFC form in one folder. Such names are hashed as they are spelled.
    """
    forms = [nfc_form(name) for name in names]
    shared = {form for form, n in Counter(forms).items() if n > 1}
    spelled = (name if form in shared else form for name, form in zip(names, forms, strict=True))
    # File names that are not valid UTF-8 contain surrogates, which stand for the invalid bytes.
    digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in spelled)
    return np.array([int.from_bytes(digest[:8], "big") & LARGEST_ID for digest in digests], np.int64)


def count_suffixes(files: Iterable[str]) -> str:
    """Return how often each file extension occurs, most frequent first: "40 .ppm, 1 without an extension"."""
    counts = Counter(PurePath(file).suffix.lower() or "without an extension" for file in files)
    items = [f"{n:,} {suffix}" for suffix, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    return ", ".join(items[:5]) + (f" and {len(items) - 5} other kinds" if len(items) > 5 else "")
