"""The report's background sections: data, time, configuration and environment."""
# Tested in tests/app/report/test_page.py

from collections.abc import Mapping, Sequence
from typing import Any

from imclass.app.report.costs import TaskCost
from imclass.app.report.facts import ReportData
from imclass.app.report.markup import Html, definition_list, element, html_table, join_html, name_element
from imclass.core.codec import flatten, to_json
from imclass.core.contracts import Refused
from imclass.core.model_file import SolvedStage
from imclass.core.text import percent
from imclass.data.source import ALL_IMAGES

MAX_FILE_ROWS = 200  # maximum number of refused files listed


def data_section(m: ReportData) -> Html:
    """Return the data section: facts about the training data or the scored data, and the refused files."""
    known = m.known
    facts = [("Name", name_element(m.data, 60)), ("Classes", f"{len(m.classes):,}")]
    facts += [(image_label(split), f"{n:,}") for split, n in m.images.items()]
    if m.run is None:
        if known.name:
            facts.append(("Trained on", name_element(known.name, 60)))
        return join_html([definition_list(facts), refusal_table(m.refused)])
    facts += [
        ("Split", known.rule or "not described"),
        ("Licence", known.licence or "not stated"),
        ("SHA-256 of the training images", element("code", known.digest)),
    ]
    notes = element("ul", *(element("li", note) for note in known.notes)) if known.notes else Html()
    return join_html([definition_list(facts), notes, refusal_table(m.refused)])


def image_label(split: str) -> str:
    """Return the label for the number of images in a split, such as "Test images"."""
    names = {"train": "Training images", ALL_IMAGES: "Images"}
    return names.get(split, f"{split.capitalize()} images")


def refusal_table(refused: Sequence[Refused]) -> Html:
    """Return a table of the refused files, with the reason for each."""
    if not refused:
        return element("p", "No files were refused.", class_="small")
    rows = [(name_element(r.path, 72), join_html([r.detail, " (", r.code, ")"])) for r in refused[:MAX_FILE_ROWS]]
    more = len(refused) - MAX_FILE_ROWS
    parts = [element("h3", f"{len(refused):,} refused"), html_table(("File", "Reason"), rows)]
    if more > 0:
        parts.append(element("p", f"and {more:,} more"))
    return join_html(parts)


def time_section(m: ReportData) -> Html:
    """Return the time section: the training time, in total and per epoch."""
    if m.run and m.run.tasks:
        return tasks_table(m.run.tasks)
    epochs = m.run.epochs if m.run else ()
    if not epochs:
        return Html()
    seconds, images, waited = (sum(getattr(e, key) for e in epochs) for key in ("seconds", "images", "waited"))
    share = percent(waited / max(seconds, 1e-9))
    pace = f"{format_duration(seconds)} ({images_per_second(images, seconds)} images per second)"
    text = f"Training processed {images:,} images (each counted once per epoch) in {pace}. "
    text += f"Waiting for data took {share} of that time. Evaluation time is not included."
    rows = [
        (str(e.number), f"{e.seconds:,.1f}", images_per_second(e.images, e.seconds), f"{e.rate:.3g}") for e in epochs
    ]
    head = ("Epoch", "Seconds", "Images/s", "Final learning rate")
    return join_html([element("p", text), html_table(head, rows, "numbers")])


def tasks_table(tasks: Sequence[TaskCost]) -> Html:
    """Return a table of the tasks in the fit of a pipeline."""
    rows = [(t.name, f"{t.done:,} {t.unit}", f"{t.computed or t.done:,}", f"{t.seconds:,.1f}") for t in tasks]
    text = "Fitting took place in tasks. What an earlier run had left in the store was not computed again."
    return join_html([element("p", text), html_table(("Task", "Size", "Computed", "Seconds"), rows, "numbers long")])


def images_per_second(images: int, seconds: float) -> str:
    """Return the number of images per second as text."""
    return f"{images / max(seconds, 1e-9):,.0f}"


def format_duration(seconds: float) -> str:
    """Return a duration as text."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.1f} seconds" if seconds < 10 else f"{seconds:.0f} seconds"
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours {minutes % 60} minutes"


def configuration_section(m: ReportData) -> Html:
    """Return the configuration section. Values that differ from the recipe's are marked and come first."""
    if m.run is None:
        return Html()
    values = flatten(to_json(m.run.config))
    defaults = values if m.run.defaults is None else m.run.defaults
    keys = [key for key in dict.fromkeys([*values, *defaults]) if key != "recipe"]
    differing = [key for key in keys if values.get(key) != defaults.get(key)]
    rows = []
    for key in dict.fromkeys([*differing, *keys]):
        value, before = (element("code", format_value(side.get(key, "-"))) for side in (values, defaults))
        marked = (element("mark", value), before) if key in differing else (value, "")
        rows.append((element("code", option_name(key, m.run.stages)), *marked))
    n = len(differing)
    text = f"{n or 'None'} of the {len(keys)} values {'differs' if n == 1 else 'differ'} from the recipe."
    if m.run.defaults is None:
        text = "The recipe is not installed, so values that differ from it cannot be marked."
    text += " Each can be set with the command-line option of the same name."
    return join_html(
        [element("p", text), solved_list(m.trained.solved), html_table(("Option", "Value", "Recipe"), rows, "options")]
    )


def solved_list(solved: Mapping[str, SolvedStage]) -> Html:
    """Return a list of the solved stages: the solver of each, what it chose, and the number of images."""
    if not solved:
        return Html()
    facts: list[tuple[str, str]] = []
    for folder, one in solved.items():
        choices = [one.solver, *(f"{name} {value}" for name, value in one.facts.items()), f"{one.images:,} images"]
        facts.append((join_html(["Solver of stage ", name_element(folder.partition("-")[2])]), ", ".join(choices)))
    return definition_list(facts)


def option_name(key: str, stages: int) -> str:
    """Return the name of the command-line option that sets a value of the configuration."""
    key = key.removeprefix("stages.0.") if stages == 1 else key
    return key.replace("model.row.", "model.").replace("_", "-")


def format_value(value: Any) -> str:
    """Return a value of the configuration as text."""
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def environment_section(m: ReportData) -> Html:
    """Return the environment section: what the model was trained with, its number of parameters, and its SHA-256."""
    used: list[tuple[str, str]] = []
    if m.run:
        runtime = m.run.runtime
        used = [
            ("Device", runtime.device),
            ("Precision", str(runtime.arithmetic)),
            ("Threads", str(runtime.threads)),
            ("Seed", str(m.run.config.seed)),
        ]
    versions = [(library, version) for library, version in m.versions.items()]
    file = [("Model file", element("code", f"SHA-256 {m.digest}"))] if m.digest else []
    return definition_list([*used, ("Parameters", f"{m.parameters:,}"), *versions, *file])
