"""The verb `doctor`: describe the machine, the installation and the store, and list problems and fixes."""

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
    """Return all findings of `doctor` as a JSON record, with sizes in bytes."""
    processor = read_processor()
    limits = read_limits()
    libraries = declared_libraries()
    torch = inspect_torch()
    environment = environment_variables()
    state, wrong = store_state(store)
    return {
        "imclass": installed_version("imclass"),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": platform.platform(),
        "processor": asdict(processor) | {"bfloat16": processor.has_bfloat16},
        "memory": asdict(read_memory()),
        "limits": asdict(limits),
        "torch": {"problem": torch} if isinstance(torch, str) else asdict(torch),
        "libraries": [asdict(library) | {"fits": library.is_satisfied} for library in libraries],
        "store": asdict(state),
        "environment": environment,
        "proxies": proxy_settings(),
        "missing": [asdict(problem) for problem in [*wrong, *problems(libraries, torch, limits, state, environment)]],
    }


def store_state(store: Path | None) -> tuple[StoreState, list[Problem]]:
    """Return the state of a store, and a problem if the store cannot be opened. The default is the user's store."""
    try:
        return describe_store(open_store(store).folder), []
    except UserError:  # the store is a file
        folder = store or default_folder()
        problem = Problem(f"the store {folder} is a file", "choose a folder with --store or IMCLASS_STORE")
        return StoreState(str(folder), False, True, 0, None), [problem]


def run(arguments: DoctorArguments) -> Answer:
    """Describe this machine."""
    record = machine_record(arguments.common.store)
    return Answer(record, machine_text(record))
