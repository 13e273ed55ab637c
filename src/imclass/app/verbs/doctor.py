"""The verb `doctor`: the machine, the installation, the store, and what is missing with the fix."""

import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imclass.app.cli.answer import Answer
from imclass.app.cli.arguments import DoctorArguments
from imclass.app.machine.advice import Problem, StoreState, describe_store, problems
from imclass.app.machine.hardware import read_limits, read_memory, read_processor
from imclass.app.machine.software import (
    declared_libraries,
    environment_variables,
    inspect_torch,
    installed_version,
    proxy_settings,
)
from imclass.app.text.machine import machine_text
from imclass.core.errors import UserError
from imclass.store.store import default_folder, open_store


def machine_record(store: Path | None) -> dict[str, Any]:
    """Return everything that `doctor` finds, for JSON; sizes are in bytes."""
    processor, limits, declared, torch = read_processor(), read_limits(), declared_libraries(), inspect_torch()
    place, wrong = store_state(store)
    environment = environment_variables()
    return {
        "imclass": installed_version("imclass"),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": platform.platform(),
        "processor": asdict(processor) | {"bfloat16": processor.has_bfloat16},
        "memory": asdict(read_memory()),
        "limits": asdict(limits),
        "torch": {"problem": torch} if isinstance(torch, str) else asdict(torch),
        "libraries": [asdict(library) | {"fits": library.is_satisfied} for library in declared],
        "store": asdict(place),
        "environment": environment,
        "proxies": proxy_settings(),
        "missing": [asdict(problem) for problem in [*wrong, *problems(declared, torch, limits, place, environment)]],
    }


def store_state(store: Path | None) -> tuple[StoreState, list[Problem]]:
    """Return the store in this folder, or else the user's; and why it cannot be one."""
    try:
        return describe_store(open_store(store).folder), []
    except UserError:  # a file is in its place
        folder = store or default_folder()
        problem = Problem(f"the store {folder} is a file", "name a folder with --store or IMCLASS_STORE")
        return StoreState(str(folder), False, True, 0, None), [problem]


def run(arguments: DoctorArguments) -> Answer:
    """Describe this machine."""
    found = machine_record(arguments.common.store)
    return Answer(found, machine_text(found))
