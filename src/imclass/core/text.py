"""Text for terminals and messages: escaped, aligned and shortened names, and suggestions for misspelt names."""

import difflib
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

NEAREST_CUTOFF = 0.63  # difflib's ratio is higher for typos, and lower for "finetune" and "features"


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return text to end a message about a wrong name: "; did you mean 'x'?", a list of at most 40 names, or ""."""
    known = sorted(names)
    bare = {word.lstrip("-"): word for word in known}  # leading dashes would make any two options seem similar
    close = difflib.get_close_matches(name.lstrip("-"), bare, n=1, cutoff=NEAREST_CUTOFF)
    completions = [word for word in bare if len(name) >= 3 and word.startswith(name.lstrip("-"))]
    for word in (*close, *completions[:1]):
        return f"; did you mean {bare[word]!r}?"
    return f"; there are: {', '.join(known)}" if 0 < len(known) <= 40 else ""


def nfc_form(name: str) -> str:
    """Return a name in Unicode NFC, the composed form. Some file systems store names in another form."""
    return unicodedata.normalize("NFC", name)


def printable_text(text: str) -> str:
    """Return `text` as one line that is safe for a terminal: control characters and invalid UTF-8 become escapes."""
    valid = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in valid)


def escape_formula(cell: str) -> str:
    """Return a cell for a CSV file, with an apostrophe in front if a spreadsheet would run it as a formula."""
    return "'" + cell if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def list_names(names: Sequence[str], max_names: int = 10) -> str:
    """Return the first `max_names` names in quotes, followed by the number of remaining names."""
    text = ", ".join(repr(name) for name in names[:max_names])
    return text if len(names) <= max_names else f"{text} and {len(names) - max_names} more"


MEASURE_TITLES = (
    ("top1", "top-1"),
    ("top5", "top-5"),
    ("balanced", "balanced accuracy"),
    ("map", "mAP"),
    ("exact", "all labels right"),
)
MAIN_MEASURES = ("top1", "map")  # default measures for choosing models, for one label per image and for several
MAX_NAME_COLUMNS = 32  # terminal columns for a class name


def measure_title(measure: str) -> str:
    """Return a measure's name for display, such as "top-1" for "top1"."""
    return dict(MEASURE_TITLES).get(measure, measure)


def main_measure(metrics: Mapping[str, object]) -> str:
    """Return the name of the measure in `metrics` by which models are chosen by default."""
    return next(name for name in MAIN_MEASURES if name in metrics)


def percent(share: float) -> str:
    """Return a fraction in [0, 1] as a percentage, or "-" for NaN."""
    return "-" if math.isnan(share) else f"{100 * share:.2f}%"


def duration_text(seconds: float) -> str:
    """Return a duration as text: "12 ms", "4.9 s", "12 min" or "2.5 h"."""
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size_text(number: int | None) -> str:
    """Return a number of bytes in a readable unit."""
    if number is None:
        return "unknown"
    if number >= 2**30:
        return f"{number / 2**30:.1f} GiB"
    return f"{number / 2**20:.1f} MiB" if number >= 2**20 else f"{number:,} bytes"


def text_width(text: str) -> int:
    """Return the width of `text` in terminal columns: two for East Asian wide characters, none for combining marks."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad_text(text: str, wide: int) -> str:
    """Return `text` padded with spaces to `wide` terminal columns."""
    return text + " " * (wide - text_width(text))


def shorten_name(name: str, max_columns: int = MAX_NAME_COLUMNS) -> str:
    """Return a class name that is safe for a terminal. If the name is too long, an ellipsis replaces its middle.

    Both ends are kept because class names often differ only there.
    """
    name = printable_text(name)
    cut = name
    keep = min(len(name), max_columns)
    while text_width(cut) > max_columns:
        keep -= 1
        cut = name[: keep - keep // 2] + "…" + name[len(name) - keep // 2 :]
    return cut
