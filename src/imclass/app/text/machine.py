"""The findings of `doctor`, as text 80 columns wide."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from imclass.core.text import printable_text, size_text

TEXT_WIDTH, LABEL_WIDTH = 80, 13
UNBROKEN = "\u00a0"  # a space at which textwrap does not break


def machine_text(record: Mapping[str, Any]) -> str:
    """Return the facts about the machine, followed by the problems."""
    lines = [fact_lines(label, text) for label, text in machine_facts(record)]
    return "\n".join([*lines, "", *problem_lines(record["missing"])])


def machine_facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a label and its text for each fact."""
    processor, python = record["processor"], record["python"]
    yield "imclass", f"{record['imclass'] or 'not installed'}, Python {python['version']} ({python['executable']})"
    yield "system", record["system"]
    yield "processor", f"{processor['model']}: {', '.join(processor['flags']) or 'no flags known'}"
    yield "bfloat16", "in hardware" if processor["bfloat16"] else "emulated: --precision bf16 will not be faster"
    yield "cores", cores_text(record)
    yield "memory", memory_text(record["memory"], record["limits"]["memory"])
    yield from torch_facts(record["torch"])
    yield from library_facts(record["libraries"])
    yield "store", store_text(record["store"])
    yield (
        "environment",
        join_unbroken(f"{k}={v}" for k, v in record["environment"].items()) or "no relevant variables are set",
    )
    yield "proxies", ", ".join(f"{k}={v}" for k, v in record["proxies"].items()) or "none"


def cores_text(record: Mapping[str, Any]) -> str:
    """Describe the cores, how many of them this process can use, and the container's quota."""
    processor, quota = record["processor"], record["limits"]["cores"]
    usable = "" if processor["usable"] == processor["cores"] else f", {processor['usable']} for this process"
    allowed = "none" if quota is None else f"{quota:g} cores"
    return f"{processor['cores']}{usable}; container quota: {allowed}"


def memory_text(found: Mapping[str, int | None], limit: int | None) -> str:
    """Describe the memory and the container's limit."""
    available = "" if found["available"] is None else f", {size_text(found['available'])} available"
    allowed = "none" if limit is None else size_text(limit)
    return f"{size_text(found['total'])}{available}; container limit: {allowed}"


def torch_facts(torch: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a label and its text for each fact about PyTorch."""
    if "problem" in torch:
        yield "torch", f"cannot be imported: {torch['problem']}"
        return
    cuda = f"CUDA {torch['cuda']}" if torch["cuda"] else "built without CUDA"
    seconds = f"; imported in {torch['seconds']:.1f} s" if torch["seconds"] else ""
    threads = f"{torch['threads']} thread{'' if torch['threads'] == 1 else 's'}"
    yield "torch", f"{threads}, {torch['kernels']} kernels, {cuda}{seconds}"
    yield "devices", ", ".join(torch["devices"])


def library_facts(libraries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield a label and its text for the required libraries, then for the libraries of each extra."""
    yield "libraries", join_unbroken(library_text(one) for one in libraries if not one["extra"]) or "unknown"
    for extra in dict.fromkeys(one["extra"] for one in libraries if one["extra"]):
        members = [one for one in libraries if one["extra"] == extra]
        lacking = join_unbroken(one["name"] for one in members if not one["fits"])
        present = join_unbroken(library_text(one) for one in members if one["fits"])
        fix = f"missing: {lacking}; pip{UNBROKEN}install{UNBROKEN}'imclass[{extra}]'" if lacking else ""
        yield f"  [{extra}]", "; ".join(filter(None, [present, fix]))


def join_unbroken(items: Iterable[str]) -> str:
    """Join items with commas. Lines can then break only between items."""
    return ", ".join(item.replace(" ", UNBROKEN) for item in items)


def library_text(found: Mapping[str, Any]) -> str:
    """Return a library's name and version."""
    return f"{found['name']} {found['version'] or '(missing)'}"


def store_text(place: Mapping[str, Any]) -> str:
    """Describe the store."""
    state = size_text(place["size"]) if place["exists"] else "not created yet"
    free = "" if place["free"] is None else f", {size_text(place['free'])} free"
    return f"{place['folder']}: {state}{'' if place['writable'] else ', not writable'}{free}"


def problem_lines(problems: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the problems, each with its fix."""
    if not problems:
        return ["Nothing is missing."]
    items = [
        wrap_lines(f"- {printable_text(one['problem'])}. Fix: {printable_text(one['fix'])}", "  ") for one in problems
    ]
    return ["To fix:", *items]


def fact_lines(label: str, text: str) -> str:
    """Return a label and its text. Further lines are indented, so that the text forms a column."""
    shown = UNBROKEN.join(printable_text(part) for part in text.split(UNBROKEN))
    return wrap_lines(label.ljust(LABEL_WIDTH) + shown, " " * LABEL_WIDTH)


def wrap_lines(text: str, indent: str) -> str:
    """Wrap a text to lines of 80 columns without breaking a path."""
    filled = textwrap.fill(text, TEXT_WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return filled.replace(UNBROKEN, " ")
