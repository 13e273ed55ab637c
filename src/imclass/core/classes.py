"""Class names. The classes of data and models are matched by name, never by index.

Names that begin with the same WordNet id ("n01440764", "n01440764_tench", "n01440764 tench") denote the same class.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Int64

from imclass.core.errors import UserError
from imclass.core.text import list_names, nfc_form, suggestion

IMAGENET_FILE = Path(__file__).with_name("imagenet.txt")
WORDNET_ID = re.compile(r"n\d{8}(?![^ _-])")  # followed by the end, a space, an underscore or a hyphen


@cache
def imagenet_numbers() -> Mapping[str, int]:
    """Return the 1,000 classes of ILSVRC-2012 in standard order, each with its number in the development kit, from 1.

    A class is named by its WordNet id, a space and its first word. The standard order is that of the ids. The numbers
    are those in the kit's `meta.mat` (ILSVRC2012_ID), which its file of validation labels uses.
    """
    rows = (line.split(" ", 2) for line in IMAGENET_FILE.read_text().splitlines())
    return MappingProxyType({f"{wordnet_id} {word}": int(number) for wordnet_id, number, word in rows})


def imagenet_classes() -> tuple[str, ...]:
    """Return the 1,000 classes of ILSVRC-2012 in standard order, each as its WordNet id, a space and its first word."""
    return tuple(imagenet_numbers())


def check_classes(classes: Sequence[str], where: str) -> None:
    """Raise `UserError` if there are fewer than two classes, or if their names are not distinct."""
    if len(classes) < 2:
        found = f"there is only {classes[0]!r}" if classes else "there are none"
        raise UserError(f"{where}: a classifier needs at least two classes, but {found}; add a folder for each class")
    check_distinct(classes, where)


def check_distinct(classes: Sequence[str], where: str) -> None:
    """Raise `UserError` if two names are the same in Unicode NFC, or differ only in case or spaces."""
    repeated = [name for name, n in Counter(map(nfc_form, classes)).items() if n > 1]
    if repeated:
        how = "" if classes.count(repeated[0]) > 1 else ", in two spellings that Unicode treats as equal"
        raise UserError(f"{where}: class {repeated[0]!r} occurs twice{how}; rename or merge one")
    folded: dict[str, str] = {}
    for name in map(nfc_form, classes):
        other = folded.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            what = "case" if other.casefold() == name.casefold() else "spaces"
            raise UserError(f"{where}: classes {other!r} and {name!r} differ only in {what}; rename or merge one")


def rename_classes(classes: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the class names in Unicode NFC. `names` maps old names to new names; other classes keep their names."""
    return tuple(nfc_form(names.get(nfc_form(name), name)) for name in classes)


def new_names(words: Sequence[str], classes: Sequence[str], option: str = "--rename") -> dict[str, str]:
    """Parse words such as "old=new" into a mapping from old to new names, both in Unicode NFC.

    Raise `UserError` for an unknown class, and for a new name that another class already has.
    """
    known = {nfc_form(name) for name in classes}
    names: dict[str, str] = {}
    for word in map(nfc_form, words):
        splits = [(word[:i], word[i + 1 :].strip()) for i, letter in enumerate(word) if letter == "="]
        if not splits or not splits[-1][1]:
            raise UserError(f"{option} {word} does not have the form OLD=NEW; give the old and the new name of a class")
        old, new = next((pair for pair in splits if pair[0] in known), splits[0])  # a name may contain "="
        if old not in known:
            raise UserError(f"{option} {word}: the model has no class {old!r}{suggestion(old, known)}")
        if old in names:
            raise UserError(f"{option} {word}: class {old!r} is given two new names; give it only one")
        names[old] = new
    renamed = rename_classes(classes, names)
    for old, new in names.items():
        if renamed.count(new) > 1:
            raise UserError(
                f"{option} {old}={new}: another class is named {new!r}; rename that class too, or choose another name"
            )
    check_distinct(renamed, option)
    check_ids(renamed, option)
    return names


@dataclass(frozen=True)
class ClassChoice:
    """The classes of a model, in the order of its outputs, and what becomes of the classes of its data."""

    classes: tuple[str, ...]
    numbers: Int64[np.ndarray, "K"]  # for each class of the data, its number in `classes`, or -1 if it is left out


def choose_classes(data: Sequence[str], items: Sequence[str], old: Sequence[str], where: str) -> ClassChoice:
    """Choose a model's classes from those of its data and from `old`, the classes of the model that it grows from.

    Without `items`, the choice consists of the classes in `old`, followed by the other classes of the data. Otherwise,
    it consists of the classes in `items`, in that order. An item is the name of a class, or OLD=NEW to rename it.
    Classes that are renamed to the same name are merged. An item that equals the name of a class always means that
    class, even if it contains "=". Raise a `UserError` for an item that names no class, for a class that two items
    name, and for a choice of only one class.
    """
    check_ids(data, where)
    known = {class_key(name): nfc_form(name) for name in (*reversed(data), *reversed(old))}  # spelled as in `old`
    pool = list(dict.fromkeys(known[class_key(name)] for name in (*old, *data)))
    names = dict(zip(pool, pool, strict=True)) if not items else parse_items(items, pool, where)
    classes = tuple(dict.fromkeys(names.values()))
    check_distinct(classes, "--classes" if items else where)
    check_ids(classes, "--classes" if items else where)
    if items and len(classes) < 2:
        raise UserError(f"--classes leaves only {classes[0]!r}; a classifier needs at least two classes")
    chosen = [names.get(known[class_key(name)]) for name in data]
    return ClassChoice(classes, np.array([-1 if n is None else classes.index(n) for n in chosen], np.int64))


def parse_items(items: Sequence[str], pool: Sequence[str], where: str) -> dict[str, str]:
    """Return the new name of each class in `pool` that an item names."""
    keys = {class_key(name): name for name in pool}
    names: dict[str, str] = {}
    for item in map(nfc_form, items):
        is_name = item in pool or "=" not in item
        pairs = [(item[:i], item[i + 1 :].strip()) for i, letter in enumerate(item) if letter == "="]
        pairs = [(item, "")] if is_name else pairs
        old, new = next((pair for pair in pairs if class_key(pair[0]) in keys), pairs[0])
        if class_key(old) not in keys:
            near = suggestion(old, pool)
            every = "" if near.startswith("; there are") else f" The classes are {list_names(pool, 40)}"
            raise UserError(f"--classes {item}: {where} has no class {old!r}{near}{every}")
        old = keys[class_key(old)]
        if not is_name and not new:
            raise UserError(f"--classes {item} does not have the form OLD=NEW; give the new name of {old!r}")
        if old in names:
            raise UserError(f"--classes {item}: class {old!r} is listed twice; list it once")
        names[old] = new or old
    return names


def join_classes(
    data: Sequence[str], model: Sequence[str], mapping: Mapping[str, str] | None = None, where: str = "the data"
) -> Int64[np.ndarray, "K"]:
    """Return, for each class of the data, its index among the model's classes.

    Without a `mapping`, the data and the model must have the same classes, in any order. A `mapping` from names in the
    data to names in the model also allows the data to lack some of the model's classes. Raise a `UserError` that lists
    the missing and extra names if the classes do not match. Also raise `UserError` if two classes have the same WordNet
    id, or if `mapping` contains a class that the data does not have.
    """
    check_ids(data, where)
    check_ids(model, "the model")
    names = {nfc_form(name): named for name, named in (mapping or {}).items()}
    unknown = [name for name in names if name not in {nfc_form(name) for name in data}]
    if unknown:
        problem = f"--classes maps {list_names(unknown)}, but {where} has no such class; correct the mapping"
        raise UserError(f"{problem}{suggestion(unknown[0], data)}")
    named = [names.get(nfc_form(name), name) for name in data]
    index = {class_key(name): i for i, name in enumerate(model)}
    reached = {class_key(name) for name in named}
    extra = [name for name in named if class_key(name) not in index]
    missing = [name for name in model if class_key(name) not in reached]
    if extra or (missing and mapping is None):
        raise UserError(
            f"{where} and the model do not have the same classes."
            + (f" Not in the model: {list_names(extra)}{suggestion(extra[0], missing)}." if extra else "")
            + (f" Not in {where}: {list_names(missing)}." if missing else "")
            + " Rename the classes, or give a mapping with --classes FILE (a JSON object that maps data names to "
            "model names, or {} if the data has only some of the model's classes, under the same names)."
        )
    return np.array([index[class_key(name)] for name in named], np.int64)


def class_key(name: str) -> str:
    """Return the key by which classes are compared: the WordNet id at the start of a name, or the name in NFC."""
    found = WORDNET_ID.match(name)
    return found.group() if found else nfc_form(name)


def find_class(name: str, classes: Sequence[str], option: str) -> int:
    """Return the index of a class, which may be named in full, by its WordNet id, or by the rest of its name alone.

    Raise a `UserError` that names `option` if no class, or more than one class, has that name.
    """
    keys = [class_key(known) for known in classes]
    if class_key(name) in keys:
        return keys.index(class_key(name))
    short = [WORDNET_ID.sub("", nfc_form(known)).strip(" _-") for known in classes]
    equal = [i for i, known in enumerate(short) if known == nfc_form(name)]
    found = equal or [i for i, known in enumerate(short) if known.casefold() == nfc_form(name).casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{option} {name}: give the full name; several classes fit: {list_names([classes[i] for i in found])}"
        )
    raise UserError(f"{option} {name}: the model has no class {name!r}{suggestion(name, [*classes, *short])}")


def check_ids(classes: Sequence[str], where: str) -> None:
    """Raise `UserError` if the names of two classes begin with the same WordNet id."""
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault(class_key(name), name)
        if other != name:
            raise UserError(f"{where}: classes {other!r} and {name!r} have the same WordNet id; rename or merge one")
