"""Names of files and folders: which are images, which are passed over, and which folders are splits."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

READ = ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp")
REFUSED = ("tif", "tiff", "heic", "heif", "avif")  # images all the same: refused by name rather than passed over
LITTER = frozenset(
    {
        "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",  # desktops
        "lost+found", "system volume information", "$recycle.bin", "found.000",  # roots of disks
        "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot",  # network storage
    }
)  # fmt: skip
SPLITS = ("train", "validation", "test")
# "Training", "test_set", "val-images", "imgs_train", "testing data"; but not "seg_train" or "test tube".
NAMED = re.compile(
    r"(?:(?:images?|imgs?|data)[ _.-]*)?"
    r"(?:(?P<train>train(?:ing)?)|(?P<validation>val|valid|validat(?:ion|e|ing)|dev)|(?P<test>test(?:ing)?))s?"
    r"(?:[ _.-]*(?:sets?|data|datasets?|images?|imgs?|folder|dir|split|samples?|pictures?|photos?))*"
)
ADDRESS = re.compile(r"(?:https?|ftp|file|s3|gs):/", re.IGNORECASE)
ALIKE = re.compile(r"train|test|val|dev|eval|hold.?out|fold|split")  # what a folder that is a split may be called


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is passed over: dot files, and what systems leave behind."""
    return name.startswith(".") or name.casefold() in LITTER


def is_address(name: str) -> bool:
    """Return whether this is the address of something in the network; a `Path` keeps one of its two slashes."""
    return ADDRESS.match(name) is not None


def is_image(name: str) -> bool:
    """Return whether a file is an image by the end of its name."""
    return PurePath(name).suffix[1:].lower() in READ + REFUSED


def split_of(name: str) -> str | None:
    """Return the split that a folder of this name holds, such as "train" for "Training_Set"; None where it is none."""
    found = NAMED.fullmatch(name.casefold())
    return found.lastgroup if found else None


def is_like_a_split(name: str) -> bool:
    """Return whether a folder is called like a split, in a way that may also be a class's: "seg_train", "fold 3"."""
    return ALIKE.search(name.casefold()) is not None


def kinds_of(files: Iterable[str]) -> str:
    """Return how many files there are of each suffix, the most frequent first: "40 .ppm, 1 without a suffix"."""
    counted = Counter(PurePath(file).suffix.lower() or "without a suffix" for file in files)
    shown = [f"{n:,} {suffix}" for suffix, n in sorted(counted.items(), key=lambda item: (-item[1], item[0]))]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} other kinds" if len(shown) > 5 else "")
