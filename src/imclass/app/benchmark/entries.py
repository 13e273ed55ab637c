"""The entries of a benchmark: recipes with options, and finished runs, which are all checked before any is trained."""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imclass.app.fits.prepare import prepare_fit
from imclass.app.runs.directory import Run
from imclass.app.runs.train import prepare
from imclass.app.runs.watchers.pictures import REPORT_SPLITS
from imclass.app.runs.watchers.scores import SCORES
from imclass.core.config import Execution, Fitting, RunConfig
from imclass.core.contracts import Dataset
from imclass.core.errors import UserError
from imclass.core.text import list_names
from imclass.evaluation.results import ResultRow, read_row
from imclass.store.context import Context

NAMED = re.compile(r"([\w+-]+)=(.*)", re.DOTALL)  # "NAME=RECIPE ..."


@dataclass(frozen=True)
class EntryText:
    """An entry as it was written: its name, or "" if it has none, and its words."""

    name: str
    words: tuple[str, ...]

    @property
    def folder(self) -> Path | None:
        """Return the folder of a finished run, or None for a recipe."""
        path = Path(self.words[0]).expanduser()
        return path if len(self.words) == 1 and (path / "config.json").is_file() else None


@dataclass(frozen=True)
class Settings:
    """The settings that follow from the words of an entry."""

    config: RunConfig
    execution: Execution
    context: Context
    given: tuple[str, ...]  # config keys that the user has set


@dataclass(frozen=True)
class Entry:
    """A run of a benchmark. Without settings, the run was trained before, and is only read."""

    name: str
    run: Run
    settings: Settings | None = None


@dataclass(frozen=True)
class ScoredImages:
    """The images on which an entry is scored: their names, how many there are with refused images, and the classes."""

    split: str
    names: frozenset[str]
    total: int
    classes: frozenset[str]

    def difference(self, other: "ScoredImages") -> str:
        """Return a phrase that says how other images differ from these, or "" if they are the same.

        Saved scores lack the refused images, whose names therefore do not count.
        """
        if other.split != self.split:
            return f"it is scored on the split {other.split}, not {self.split}"
        if other.classes != self.classes:
            return f"its classes differ: {list_names(sorted(other.classes ^ self.classes), 3)}"
        few, many = sorted((self.names, other.names), key=len)
        if other.total != self.total or not few <= many:
            alone = list_names(sorted(other.names - self.names), 3) or "none"
            return f"it has {other.total:,} test images, not {self.total:,} (only in this entry: {alone})"
        return ""


def read_entry_text(text: str) -> EntryText:
    """Return the name and the words of an entry. Raise `UserError` if it has no words, or quotes that do not end."""
    named = NAMED.fullmatch(text)
    name, rest = (named[1], named[2]) if named else ("", text)
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise UserError(f"the entry {text!r} cannot be split into words ({error}); check its quotes") from None
    if not words:
        raise UserError(f"the entry {text!r} has no recipe; write a recipe with its options: 'folder --epochs 10'")
    return EntryText(name, tuple(words))


def make_entries(
    texts: Sequence[str], out: Path, recipes: Collection[str], read: Callable[[str, Sequence[str]], Settings]
) -> tuple[Entry, ...]:
    """Return the entries with these texts. `read` turns the name and the words of an entry into its settings.

    Raise `UserError` if an entry is invalid, or if two have the same name.
    """
    if not texts:
        raise UserError("ENTRY is missing; run imclass benchmark ENTRY ENTRY --data DIR. `imclass recipes` lists the "
                        "recipes")  # fmt: skip
    entries = []
    for text in texts:
        known = read_entry_text(text)
        folder = known.folder if known.words[0] not in recipes else None
        if folder is not None:
            entries.append(Entry(known.name or folder.resolve().name, finished_run(folder)))
            continue
        name = known.name or known.words[0]
        try:
            settings = read(name, known.words)
        except UserError as error:
            raise UserError(f"entry {shlex.quote(text)}: {error}") from None
        entries.append(Entry(name, Run(out / name), settings))
    twice = [name for name, n in Counter(entry.name for entry in entries).items() if n > 1]
    if twice:
        raise UserError(f"two entries are called {twice[0]!r}; give one of them a name: 'NAME={twice[0]} ...'")
    return tuple(entries)


def finished_run(folder: Path) -> Run:
    """Return the run in a folder. Raise `UserError` if it is not finished."""
    run = Run(folder)
    if not run.is_finished:
        raise UserError(f"the run {folder} is not finished; train it to the end with the command that began it first")
    return run


def scores_row(run: Run, name: str) -> ResultRow:
    """Return the scores of a finished run on its test images. Raise `UserError` if the run has no scores."""
    found = next((path for split in REPORT_SPLITS if (path := run.folder / SCORES / f"{split}.npz").is_file()), None)
    if found is None:
        raise UserError(f"the run {run.folder} of the entry {name!r} has no saved scores; train it again")
    return read_row(found)


def check_entries(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Check all entries without training, and return the notes for the user.

    Raise `UserError` if an entry cannot be trained, or has other test images than the first.
    """
    first: ScoredImages | None = None
    notes: dict[str, None] = {}
    for entry in entries:
        if entry.settings is None:
            images = saved_images(entry)
        else:
            try:
                images, more = dry_preparation(entry, entry.settings)
            except UserError as error:
                raise UserError(f"entry {entry.name}: {error}") from None
            notes |= dict.fromkeys(more)
        if first is None:
            first = images
        elif difference := first.difference(images):
            raise UserError(
                f"the entries {entries[0].name} and {entry.name} cannot be compared: for {entry.name}, {difference}. "
                "Give all entries the same data and split"
            )
    return tuple(notes)


def dry_preparation(entry: Entry, how: Settings) -> tuple[ScoredImages, tuple[str, ...]]:
    """Check the settings of an entry, and return its test images with notes for the user. Nothing is written."""
    config, run = how.config, entry.run
    if isinstance(config, Fitting):
        fit = prepare_fit(config, run, how.context, how.execution, True, how.given)
        return images_in(fit.held_out), fit.notes
    job = prepare(config, run, how.context, how.execution, True, how.given)
    return images_in(job.held_out), job.notes


def images_in(held_out: Mapping[str, Dataset]) -> ScoredImages:
    """Return the test images or, without any, the validation images. Raise `UserError` if no images are held out."""
    split = next((split for split in REPORT_SPLITS if split in held_out), None)
    if split is None:
        raise UserError("no images are held out of training, so there is no accuracy to compare; choose another --data")
    data = held_out[split]
    names = frozenset(data.name(i) for i in range(len(data)))
    return ScoredImages(split, names, len(data), frozenset(data.classes))


def saved_images(entry: Entry) -> ScoredImages:
    """Return the images of a finished run's scores."""
    row = scores_row(entry.run, entry.name)
    found = row.evaluation
    return ScoredImages(row.facts.split, frozenset(row.images), found.total, frozenset(found.classes))
