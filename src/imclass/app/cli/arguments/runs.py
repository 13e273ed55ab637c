"""The arguments of the verb `runs`."""
# Tested in tests/app/verbs/test_runs.py

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from imclass.app.cli.syntax import Arg, CommonArguments, FileOption


@dataclass(frozen=True)
class RunsArguments:
    """Compare runs by their settings and results. Each run has a row with its state, progress and results, and with
    the settings that differ between the runs. The folds of a cross-validation and the legs of a run with several
    stages have rows below it."""

    folders: Annotated[tuple[Path, ...], Arg("[DIR ...]", "runs", positional=True)] = ()
    """Runs, or folders that contain runs at any depth."""
    table_format: Annotated[Literal["text", "markdown", "csv"], Arg("FORMAT")] = "text"
    """text, markdown or csv. Markdown and CSV have a column for each setting that differs, and CSV has all measures."""
    out: FileOption = None
    """Write a page with the table and the curves of all runs (.html)."""
    common: CommonArguments = CommonArguments()
