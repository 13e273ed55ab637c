"""The tables of the kinds in a config. All of them except the table of split rules include the kinds of plugins.

In Python, a config may also contain objects whose classes are in no table. They are registered for one call.
"""

import dataclasses
import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imclass.core.codec import Kinds, from_json, to_json
from imclass.core.config import SPLIT_KINDS, AnyPart, Augment, Average, Objective, Optimiser, Schedule, Solver
from imclass.core.errors import UserError
from imclass.core.tables import NO_FILE, PLUGIN_PREFIX, EntryTable, Plugin, Plugins
from imclass.store.context import Context, find_in

# The package, the name and the description of the table for each base class.
PLACES: Mapping[type, tuple[str, str, str]] = types.MappingProxyType(
    {
        Augment: ("imclass.data.augment", "AUGMENTS", "augmentation"),
        Average: ("imclass.training.averages", "AVERAGES", "average"),
        Objective: ("imclass.training.objectives", "OBJECTIVES", "objective"),
        AnyPart: ("imclass.pipelines.parts", "PARTS", "part"),
        Optimiser: ("imclass.training.optimisers", "OPTIMISERS", "optimiser"),
        Schedule: ("imclass.training.schedules", "SCHEDULES", "schedule"),
        Solver: ("imclass.pipelines.solvers", "SOLVERS", "solver"),
    }
)


class KindTables(Mapping[type, EntryTable]):
    """The table of kinds for each base class, made when it is first asked for, because some tables import PyTorch."""

    def __init__(self, context: Context | None) -> None:
        self.context, self.made = context, dict(SPLIT_KINDS)

    def __getitem__(self, base: type) -> EntryTable:
        """Return the table of a base class."""
        if base not in self.made:
            self.made[base] = find_in(self.context, *PLACES[base])
        return self.made[base]

    def __contains__(self, base: object) -> bool:
        """Return whether there is a table for a base class, without making it."""
        return base in SPLIT_KINDS or base in PLACES

    def __iter__(self) -> Iterator[type]:
        """Yield the base classes."""
        yield from SPLIT_KINDS
        yield from PLACES

    def __len__(self) -> int:
        return len(SPLIT_KINDS) + len(PLACES)


def kind_tables(context: Context | None = None) -> Kinds:
    """Return the table of kinds for each base class."""
    return KindTables(context)


def with_objects(context: Context, *values: Any) -> Context:
    """Return the context with the classes of those objects in `values`, such as an objective, that are in no table.

    Raise `UserError` for a class that cannot be in a table, and for an object that a run's config could not contain.
    """
    tables, found = kind_tables(context), dict[str, dict[str, type]]()
    for value in kinds_in(values):
        base = next(base for base in PLACES if isinstance(value, base))
        if not isinstance(value.kind, str) or not value.kind:
            name = f"the {tables[base].what} {type(value).__name__}"
            raise UserError(f"{name} has no kind; give its class a name: kind: ClassVar[str] = 'mine'")
        if is_known(value, tables[base]):
            continue
        check_object(value, tables[base])
        classes = found.setdefault(PLACES[base][1], {})
        if classes.setdefault(value.kind, type(value)) is not type(value):
            raise UserError(f"two classes have the {tables[base].what} kind {value.kind!r}; rename one")
    if not found:
        return context
    module = types.ModuleType("objects")
    vars(module).update(found)
    objects = Plugin(Path("a Python object"), NO_FILE, module)
    return dataclasses.replace(context, plugins=Plugins((*context.plugins.files, objects)))


def object_entries(context: Context) -> list[str]:
    """Return the entries that `with_objects` has added, such as "objective mine"."""
    tables = [kind_tables(context)[base] for base in PLACES]
    return [f"{table.what} {name}" for table in tables for name, digest in table.digests.items() if digest == NO_FILE]


def kinds_in(value: Any) -> Iterator[Any]:
    """Yield the optimisers, schedules, objectives and other objects that have a kind, at any depth of a value."""
    if isinstance(value, tuple(PLACES)):
        yield value
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from kinds_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from kinds_in([getattr(value, field.name) for field in dataclasses.fields(value)])


def is_known(value: Any, table: EntryTable) -> bool:
    """Return whether a table has the class of an object, or the class with its name from a newer plugin file."""
    known = table.entries.get(value.kind)
    return known is type(value) or (value.kind in table.digests and type(value).__module__.startswith(PLUGIN_PREFIX))


def check_object(value: Any, table: EntryTable) -> None:
    """Raise `UserError` if an object's `kind` is taken, or if a run's configuration could not contain the object."""
    name = type(value).__name__
    if value.kind in table.entries:
        raise UserError(
            f"{name} has the kind {value.kind!r}, which is that of another {table.what}; choose another name"
        )
    others = sorted({*getattr(value, "__dict__", ())} - {field.name for field in dataclasses.fields(value)})
    if others:
        raise UserError(
            f"the {table.what} {name} has the attribute {others[0]!r}, which is not a field, so a run's configuration "
            "could not contain it; make the class a frozen dataclass, and the attribute one of its fields"
        )
    try:
        record = to_json(value)
        json.dumps(record)
        from_json(type(value), record)
    except (TypeError, ValueError, NameError) as error:
        raise UserError(
            f"the {table.what} {name} cannot be kept in a run's configuration ({error}); use fields that are numbers, "
            "text or tuples of these, with their types"
        ) from None
