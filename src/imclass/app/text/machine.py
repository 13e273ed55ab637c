"""What `doctor` finds, as text of 80 columns."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from imclass.core.text import printable

WIDE, LABEL = 80, 13
UNBROKEN = "\u00a0"  # a space at which textwrap does not break


def describe(record: Mapping[str, Any]) -> str:
    """Return a line or a few for each fact, and what is missing."""
    lines = [entry(label, text) for label, text in facts(record)]
    return "\n".join([*lines, "", *advice(record["missing"])])


def facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a label and a text for each fact."""
    processor, python = record["processor"], record["python"]
    yield "imclass", f"{record['imclass'] or 'not installed'}, Python {python['version']} ({python['executable']})"
    yield "system", record["system"]
    yield "processor", f"{processor['model']}: {', '.join(processor['flags']) or 'no flags known'}"
    yield "bfloat16", "in hardware" if processor["bfloat16"] else "emulated: --precision bf16 will not be faster"
    yield "cores", cores(record)
    yield "memory", memory(record["memory"], record["limits"]["memory"])
    yield from torch_facts(record["torch"])
    yield from library_facts(record["libraries"])
    yield "store", store(record["store"])
    yield "environment", together(f"{k}={v}" for k, v in record["environment"].items()) or "nothing set that matters"
    yield "proxies", ", ".join(f"{k}={v}" for k, v in record["proxies"].items()) or "none"


def cores(record: Mapping[str, Any]) -> str:
    """Describe the cores, those of them that may be used, and the container's quota."""
    processor, quota = record["processor"], record["limits"]["cores"]
    usable = "" if processor["usable"] == processor["cores"] else f", {processor['usable']} for this process"
    return f"{processor['cores']}{usable}; container quota: {'none' if quota is None else f'{quota:g} cores'}"


def memory(found: Mapping[str, int | None], limit: int | None) -> str:
    """Describe the memory and the container's limit."""
    available = "" if found["available"] is None else f", {size(found['available'])} available"
    return f"{size(found['total'])}{available}; container limit: {'none' if limit is None else size(limit)}"


def torch_facts(torch: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what PyTorch says of itself."""
    if "problem" in torch:
        yield "torch", f"cannot be imported: {torch['problem']}"
        return
    cuda = f"CUDA {torch['cuda']}" if torch["cuda"] else "built without CUDA"
    seconds = f"; imported in {torch['seconds']:.1f} s" if torch["seconds"] else ""
    threads = f"{torch['threads']} thread{'' if torch['threads'] == 1 else 's'}"
    yield "torch", f"{threads}, {torch['kernels']} kernels, {cuda}{seconds}"
    yield "devices", ", ".join(torch["devices"])


def library_facts(libraries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the libraries that are always needed, and then each extra with what of it is missing."""
    yield "libraries", together(library(one) for one in libraries if not one["extra"]) or "unknown"
    for extra in dict.fromkeys(one["extra"] for one in libraries if one["extra"]):
        members = [one for one in libraries if one["extra"] == extra]
        lacking = together(one["name"] for one in members if not one["fits"])
        present = together(library(one) for one in members if one["fits"])
        fix = f"missing: {lacking}; pip{UNBROKEN}install{UNBROKEN}'imclass[{extra}]'" if lacking else ""
        yield f"  [{extra}]", "; ".join(filter(None, [present, fix]))


def together(items: Iterable[str]) -> str:
    """Return items with commas between, so that a line ends only after one."""
    return ", ".join(item.replace(" ", UNBROKEN) for item in items)


def library(found: Mapping[str, Any]) -> str:
    """Return a library's name and version."""
    return f"{found['name']} {found['version'] or '(missing)'}"


def store(place: Mapping[str, Any]) -> str:
    """Describe the store."""
    state = size(place["size"]) if place["exists"] else "not made yet"
    free = "" if place["free"] is None else f", {size(place['free'])} free"
    return f"{place['folder']}: {state}{'' if place['writable'] else ', not writable'}{free}"


def advice(problems: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the problems, each with its fix."""
    if not problems:
        return ["Nothing is missing."]
    items = [wrapped(f"- {printable(one['problem'])}. Fix: {printable(one['fix'])}", "  ") for one in problems]
    return ["To look at:", *items]


def entry(label: str, text: str) -> str:
    """Return a fact beside its label, later lines under the text."""
    shown = UNBROKEN.join(printable(part) for part in text.split(UNBROKEN))
    return wrapped(label.ljust(LABEL) + shown, " " * LABEL)


def wrapped(text: str, indent: str) -> str:
    """Return a text in lines of 80 columns; a path is never broken."""
    filled = textwrap.fill(text, WIDE, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return filled.replace(UNBROKEN, " ")


def size(number: int | None) -> str:
    """Return a number of bytes for people."""
    if number is None:
        return "unknown"
    if number >= 2**30:
        return f"{number / 2**30:.1f} GiB"
    return f"{number / 2**20:.1f} MiB" if number >= 2**20 else f"{number:,} bytes"
