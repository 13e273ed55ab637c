"""The part of a report's page that says how a result came about: data, time, configuration, environment."""
# Tested in tests/app/report/test_page.py

from collections.abc import Sequence
from typing import Any

from imclass.app.report.facts import Epoch, Material
from imclass.app.report.markup import Html, element, facts, name, table, together
from imclass.core.codec import flatten, to_json
from imclass.core.contracts import Refused
from imclass.core.text import percent

FILES = 200  # refused files named


def data(m: Material) -> Html:
    """What it was trained from, and what of it was left out."""
    known = m.known
    pairs_: list[tuple[str, str]] = [
        ("Name", name(m.data, 60)),
        ("Classes", f"{len(m.classes):,}"),
        *((f"Images, {split}", f"{counts.sum():,}") for split, counts in m.counts.items()),
        ("Split", known.rule or "not described"),
        ("Licence", known.licence or "not stated"),
        ("Digest of training", element("code", known.digest)),
    ]
    notes = element("ul", *(element("li", note) for note in known.notes))
    return together([facts(pairs_), notes if known.notes else "", left_out(m.refused)])


def left_out(refused: Sequence[Refused]) -> Html:
    """The files that were refused, and why."""
    if not refused:
        return element("p", "No file was refused.", class_="small")
    rows = [(name(r.path, 72), together([r.detail, " (", r.code, ")"])) for r in refused[:FILES]]
    more = len(refused) - FILES
    files = table(("File", "Why"), rows)
    return together(
        [element("h3", f"{len(refused):,} refused"), files, element("p", f"and {more:,} more") if more > 0 else ""]
    )


def time(epochs: Sequence[Epoch]) -> Html:
    """Where the time went."""
    if not epochs:
        return Html()
    seconds, images, waited = (sum(getattr(e, key) for e in epochs) for key in ("seconds", "images", "waited"))
    share = percent(waited / max(seconds, 1e-9))
    said = f"{images:,} images were learned from in {spell(seconds)}: {pace(images, seconds)} a second, {share} of the "
    said += "time spent waiting for data. Evaluation is not counted."
    rows = [(str(e.number), f"{e.seconds:,.1f}", pace(e.images, e.seconds), f"{e.rate:.3g}") for e in epochs]
    return together([element("p", said), table(("Epoch", "Seconds", "Images/s", "Rate at its end"), rows, "numbers")])


def pace(images: int, seconds: float) -> str:
    """Images a second."""
    return f"{images / max(seconds, 1e-9):,.0f}"


def spell(seconds: float) -> str:
    """A length of time in words."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} seconds"
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours {minutes % 60} minutes"


def configuration(m: Material) -> Html:
    """Every choice; what is not the recipe's own is marked and stands first."""
    own = flatten(to_json(m.training))
    usual = own if m.usual is None else m.usual
    keys = [key for key in dict.fromkeys([*own, *usual]) if key != "recipe"]
    differing = [key for key in keys if own.get(key) != usual.get(key)]
    rows = []
    for key in dict.fromkeys([*differing, *keys]):
        value, before = (element("code", shown(values.get(key, "-"))) for values in (own, usual))
        marked = (element("mark", value), before) if key in differing else (value, "")
        rows.append((element("code", option(key, len(m.training.stages))), *marked))
    n = len(differing)
    said = f"{n or 'None'} of {len(keys)} values {'differs' if n == 1 else 'differ'} from the recipe's."
    if m.usual is None:
        said = "The recipe is not known here, so nothing tells which of these values are its own."
    said += " Each is an option of the command line by the same name."
    return together([element("p", said), table(("Option", "Value", "The recipe's"), rows, "options")])


def option(key: str, stages: int) -> str:
    """What a key of the config is called on the command line."""
    key = key.removeprefix("stages.0.") if stages == 1 else key
    return key.replace("model.row.", "model.").replace("_", "-")


def shown(value: Any) -> str:
    """A value of the configuration as text."""
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def environment(m: Material) -> Html:
    """With what it was computed."""
    used = [
        ("Device", m.runtime.device),
        ("Precision", str(m.runtime.arithmetic)),
        ("Threads", str(m.runtime.threads)),
    ]
    versions = [(library, version) for library, version in m.versions.items()]
    size = [("Parameters", f"{m.parameters:,}"), ("Seed", str(m.training.seed))]
    return facts([*used, *size, *versions, ("Model file", element("code", f"SHA-256 {m.digest}"))])
