"""Lists of entries, built from tables or read from an index in the store. Reading an index needs no PyTorch."""

import json
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imclass.app.cli.answer import Answer
from imclass.app.cli.arguments import CommonArguments
from imclass.app.cli.checks import context_of
from imclass.app.machine.software import installed_version
from imclass.app.text.columns import record_text, text_table
from imclass.core.errors import UserError
from imclass.core.tables import EntryTable, plugin_files, problem_of
from imclass.core.text import suggestion
from imclass.store.context import Context
from imclass.store.index import Index, open_index
from imclass.store.store import open_store

PACKAGE_FOLDER = Path(__file__).parents[2]


@dataclass(frozen=True)
class Listing:
    """The rows of a table, the details of each entry (keyed by name), and a line for each entry that cannot be used."""

    rows: list[dict[str, Any]]
    details: dict[str, dict[str, Any]]
    failures: tuple[str, ...] = ()


def describe_entries(
    found: EntryTable,
    row: Callable[[str, Any], dict[str, Any]],
    detail: Callable[[str, Any], dict[str, Any]] = lambda name, entry: {},
) -> Listing:
    """Return a listing of all entries.

    An entry's row contains its name and the items of `row(name, entry)`. Its details are `detail(name, entry)`.
    """
    rows, details, failures = [], {}, list(found.failures)
    for name, entry in found.entries.items():
        try:
            described, further = json.loads(json.dumps([row(name, entry), detail(name, entry)]))
        except Exception as error:  # a plugin's entry may raise anything; the other entries are still listed
            failures.append(f"{found.what} {name}: {problem_of(error)}")
            continue
        rows.append({"name": name} | described)
        details[name] = further
    return Listing(rows, details, tuple(failures))


def cached_listing(verb: str, common: CommonArguments, make: Callable[[Context], Listing]) -> Listing:
    """Return the stored listing if no file of the package or the plugins has changed. Otherwise, call `make`.

    Rows may depend on any file of the package, so all files are checked, which takes a few milliseconds. A listing with
    failures is not stored, because it depends on the installed libraries.
    """
    index = listing_index(verb, common)
    kept = index.read()
    if kept is not None:
        return Listing(kept["rows"], kept["details"])
    made = make(context_of(common))
    if not made.failures:
        index.write({"rows": made.rows, "details": made.details})
    return made


def listing_index(verb: str, common: CommonArguments) -> Index:
    """Return the index that stores a verb's list. There is a separate index for each set of plugins."""
    files = [*sorted(PACKAGE_FOLDER.rglob("*.py")), *plugin_files(common.plugins)]
    version = f"imclass {installed_version('imclass')}, Python {platform.python_version()}"
    return open_index(open_store(common.store), verb, [PACKAGE_FOLDER, *common.plugins], files, version)


def failure_notes(failures: Sequence[str]) -> tuple[str, ...]:
    """Return a note for each entry that cannot be used."""
    return tuple(f"note: not usable: {failure}" for failure in failures)


def listing_answer(
    found: Listing,
    name: str | None,
    what: str,
    acts: Sequence[str] = (),
    columns: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Answer:
    """Return an answer with a table of all entries, or with the details of the entry called `name`.

    `acts` are words that users may write in place of a name, such as "get". Raise `UserError` for an unknown name; the
    message suggests a similar name or act. `columns` returns the part of a row that the table shows. The JSON record
    contains entire rows.
    """
    notes = failure_notes(found.failures)
    if name is None:
        rows = text_table([columns(row) for row in found.rows], terminal_width())
        return Answer(found.rows, rows, notes=notes)
    entry = next((row for row in found.rows if row["name"] == name), None)
    if entry is None:
        known = [*(row["name"] for row in found.rows), *acts]
        raise UserError(f"no {what} is named {name!r}{suggestion(name, known)}")
    detail = entry | found.details[name]
    return Answer(detail, record_text(detail), notes=notes)


def terminal_width() -> int | None:
    """Return the terminal's width. If standard output is not a terminal, return None, so that lines are not wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
