"""The part of a report's page that says how a result came about: data, time, configuration, environment."""
# Tested in tests/app/report/test_page.py

from collections.abc import Sequence
from typing import Any

from imclass.app.report.facts import ReportData
from imclass.app.report.markup import Html, definition_list, element, html_table, join_html, name_element
from imclass.core.codec import flatten, to_json
from imclass.core.contracts import Refused
from imclass.core.text import percent

MAX_FILE_ROWS = 200  # refused files named


def data_section(m: ReportData) -> Html:
    """Return what the model was trained from, or scored on, and what of it was left out."""
    known = m.known
    if m.run is None:
        trained = [("Trained on", name_element(known.name, 60))] if known.name else []
        scored = [(f"Images, {split}", f"{n:,}") for split, n in m.images.items()]
        pairs_ = [("Name", name_element(m.data, 60)), ("Classes", f"{len(m.classes):,}"), *scored, *trained]
        return join_html([definition_list(pairs_), refusal_table(m.refused)])
    pairs_ = [
        ("Name", name_element(m.data, 60)),
        ("Classes", f"{len(m.classes):,}"),
        *((f"Images, {split}", f"{n:,}") for split, n in m.images.items()),
        ("Split", known.rule or "not described"),
        ("Licence", known.licence or "not stated"),
        ("Digest of training", element("code", known.digest)),
    ]
    notes = element("ul", *(element("li", note) for note in known.notes))
    return join_html([definition_list(pairs_), notes if known.notes else "", refusal_table(m.refused)])


def refusal_table(refused: Sequence[Refused]) -> Html:
    """The files that were refused, and why."""
    if not refused:
        return element("p", "No file was refused.", class_="small")
    rows = [(name_element(r.path, 72), join_html([r.detail, " (", r.code, ")"])) for r in refused[:MAX_FILE_ROWS]]
    more = len(refused) - MAX_FILE_ROWS
    files = html_table(("File", "Why"), rows)
    return join_html(
        [element("h3", f"{len(refused):,} refused"), files, element("p", f"and {more:,} more") if more > 0 else ""]
    )


def time_section(m: ReportData) -> Html:
    """Return where the time went."""
    epochs = m.run.epochs if m.run else ()
    if not epochs:
        return Html()
    seconds, images, waited = (sum(getattr(e, key) for e in epochs) for key in ("seconds", "images", "waited"))
    share = percent(waited / max(seconds, 1e-9))
    said = f"{images:,} images were learned from in {format_duration(seconds)}: {images_per_second(images, seconds)} a "
    said += f"second, {share} of the time spent waiting for data. Evaluation is not counted."
    rows = [
        (str(e.number), f"{e.seconds:,.1f}", images_per_second(e.images, e.seconds), f"{e.rate:.3g}") for e in epochs
    ]
    return join_html(
        [element("p", said), html_table(("Epoch", "Seconds", "Images/s", "Rate at its end"), rows, "numbers")]
    )


def images_per_second(images: int, seconds: float) -> str:
    """Images a second."""
    return f"{images / max(seconds, 1e-9):,.0f}"


def format_duration(seconds: float) -> str:
    """A length of time in words."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.1f} seconds" if seconds < 10 else f"{seconds:.0f} seconds"
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours {minutes % 60} minutes"


def configuration_section(m: ReportData) -> Html:
    """Return every choice; what differs from the recipe's is marked and stands first."""
    if m.run is None:
        return Html()
    values = flatten(to_json(m.run.training))
    defaults = values if m.run.defaults is None else m.run.defaults
    keys = [key for key in dict.fromkeys([*values, *defaults]) if key != "recipe"]
    differing = [key for key in keys if values.get(key) != defaults.get(key)]
    rows = []
    for key in dict.fromkeys([*differing, *keys]):
        value, before = (element("code", format_value(side.get(key, "-"))) for side in (values, defaults))
        marked = (element("mark", value), before) if key in differing else (value, "")
        rows.append((element("code", option_name(key, len(m.run.training.stages))), *marked))
    n = len(differing)
    said = f"{n or 'None'} of {len(keys)} values {'differs' if n == 1 else 'differ'} from the recipe's."
    if m.run.defaults is None:
        said = "The recipe is not known here, so nothing tells which of these values are its own."
    said += " Each is an option of the command line by the same name."
    return join_html([element("p", said), html_table(("Option", "Value", "The recipe's"), rows, "options")])


def option_name(key: str, stages: int) -> str:
    """What a key of the config is called on the command line."""
    key = key.removeprefix("stages.0.") if stages == 1 else key
    return key.replace("model.row.", "model.").replace("_", "-")


def format_value(value: Any) -> str:
    """A value of the configuration as text."""
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def environment_section(m: ReportData) -> Html:
    """Return what the model was computed with, and its size."""
    used: list[tuple[str, str]] = []
    if m.run:
        runtime = m.run.runtime
        used = [
            ("Device", runtime.device),
            ("Precision", str(runtime.arithmetic)),
            ("Threads", str(runtime.threads)),
            ("Seed", str(m.run.training.seed)),
        ]
    versions = [(library, version) for library, version in m.versions.items()]
    return definition_list(
        [*used, ("Parameters", f"{m.parameters:,}"), *versions, ("Model file", element("code", f"SHA-256 {m.digest}"))]
    )
