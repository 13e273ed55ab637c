"""The verb `doctor`: the machine, the installation, the store, and what is missing with the fix."""

import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imclass.app.cli.answer import Answer
from imclass.app.cli.arguments import Doctor
from imclass.app.machine.advice import Place, Problem, describe_store, problems
from imclass.app.machine.hardware import read_limits, read_memory, read_processor
from imclass.app.machine.software import ask_torch, installed, libraries, proxies, variables
from imclass.app.text.machine import describe
from imclass.core.errors import UserError
from imclass.store.store import default_folder, open_store


def record(store: Path | None) -> dict[str, Any]:
    """Return everything that `doctor` finds, for JSON; sizes are in bytes."""
    processor, limits, declared, torch = read_processor(), read_limits(), libraries(), ask_torch()
    place, wrong = place_of(store)
    environment = variables()
    return {
        "imclass": installed("imclass"),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": platform.platform(),
        "processor": asdict(processor) | {"bfloat16": processor.has_bfloat16},
        "memory": asdict(read_memory()),
        "limits": asdict(limits),
        "torch": {"problem": torch} if isinstance(torch, str) else asdict(torch),
        "libraries": [asdict(library) | {"fits": library.fits} for library in declared],
        "store": asdict(place),
        "environment": environment,
        "proxies": proxies(),
        "missing": [asdict(problem) for problem in [*wrong, *problems(declared, torch, limits, place, environment)]],
    }


def place_of(store: Path | None) -> tuple[Place, list[Problem]]:
    """Return the store in this folder, or else the user's; and why it cannot be one."""
    try:
        return describe_store(open_store(store).folder), []
    except UserError:  # a file is in its place
        folder = store or default_folder()
        problem = Problem(f"the store {folder} is a file", "name a folder with --store or IMCLASS_STORE")
        return Place(str(folder), False, True, 0, None), [problem]


def run(arguments: Doctor) -> Answer:
    """Describe this machine."""
    found = record(arguments.common.store)
    return Answer(found, describe(found))
