"""Text for terminals and messages: safe to print, aligned, shortened; the nearest name to a wrong one."""

import difflib
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

NEAREST_CUTOFF = 0.63  # of difflib's ratio: a slip of the finger is closer, "finetune" is farther from "features"


def suggestion(name: str, names: Iterable[str]) -> str:
    """What to try instead of `name`: "; did you mean 'x'?", or the list where it is short, or nothing."""
    known = sorted(names)
    bare = {word.lstrip("-"): word for word in known}  # the dashes of options would make any two of them alike
    close = difflib.get_close_matches(name.lstrip("-"), bare, n=1, cutoff=NEAREST_CUTOFF)
    begun = [word for word in bare if len(name) >= 3 and word.startswith(name.lstrip("-"))]
    for word in (*close, *begun[:1]):
        return f"; did you mean {bare[word]!r}?"
    return f"; there are: {', '.join(known)}" if 0 < len(known) <= 40 else ""


def nfc_form(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), so that a tree copied between systems has the same names."""
    return unicodedata.normalize("NFC", name)


def printable_text(text: str) -> str:
    """`text` on one line and safe for a terminal: control characters and broken UTF-8 shown as escapes."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def escape_formula(cell: str) -> str:
    """Text that a spreadsheet takes as text: what it would run as a formula gets a leading apostrophe."""
    return "'" + cell if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def list_names(names: Sequence[str], most: int = 10) -> str:
    """Names in quotes, the first `most` of them and how many more."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


MEASURE_TITLES = (("top1", "top-1"), ("top5", "top-5"), ("map", "mAP"), ("exact", "all labels right"))
MAIN_MEASURES = ("top1", "map")  # the measures that models are chosen by, of one label an image and of several
MAX_NAME_COLUMNS = 32  # terminal columns for a class name


def measure_title(measure: str) -> str:
    """Return what people call a measure: "top-1" for "top1"."""
    return dict(MEASURE_TITLES).get(measure, measure)


def main_measure(metrics: Mapping[str, object]) -> str:
    """Return the name of the measure among `metrics` that models are chosen by."""
    return next(name for name in MAIN_MEASURES if name in metrics)


def percent(share: float) -> str:
    """A share in [0, 1] as text; "-" for nan."""
    return "-" if math.isnan(share) else f"{100 * share:.2f} %"


def text_width(text: str) -> int:
    """Terminal columns that `text` takes: East Asian wide characters take two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad_text(text: str, wide: int) -> str:
    """`text` filled with spaces up to `wide` terminal columns."""
    return text + " " * (wide - text_width(text))


def shorten_name(name: str, most: int = MAX_NAME_COLUMNS) -> str:
    """A class name safe for a terminal; a long one loses its middle, as names often differ only at their ends."""
    name = printable_text(name)
    cut, keep = name, min(len(name), most)
    while text_width(cut) > most:
        keep -= 1
        cut = name[: keep - keep // 2] + "…" + name[len(name) - keep // 2 :]
    return cut
