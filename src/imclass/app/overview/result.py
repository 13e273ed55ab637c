"""The overview that `imclass runs` prints and `imclass.runs` returns."""
# Tested in tests/app/verbs/test_runs.py

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imclass.app.overview.differences import differing_keys, option_names, shared_settings
from imclass.app.overview.find import find_runs
from imclass.app.overview.summary import RunSummary, summarise_run
from imclass.app.report.runs import overview_page
from imclass.app.text.labels import finite_or_none
from imclass.app.text.runs import overview_text, runs_as_csv, runs_as_markdown, settings_text
from imclass.core.errors import UserError, require
from imclass.core.files import write_file
from imclass.store.context import Context, Location

PARTS = ("fold", "split", "leg")  # kinds of summaries that are part of another one


@dataclass(frozen=True)
class Overview:
    """Runs with their results, and the settings in which they differ."""

    runs: tuple[RunSummary, ...]
    differing: Mapping[str, str]  # the option for each key of `RunSummary.settings` in which the runs differ
    listed: tuple[Sequence[str], ...]  # for each run, those keys that the name of its recipe does not explain
    shared: Mapping[str, Any]  # the settings that all runs share, by option

    def __str__(self) -> str:
        """Return the table as text."""
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Return the table as text, with notes. With `width`, the last column is wrapped to this width."""
        cells = [settings_text(run, self.differing, keys) for run, keys in zip(self.runs, self.listed, strict=True)]
        return overview_text(self.runs, cells, self.shared, width)

    def table(self, table_format: str) -> str:
        """Return the table as Markdown, or as CSV with all measures."""
        require(table_format in ("markdown", "csv"), "table_format", table_format, "markdown or csv")
        return (runs_as_markdown if table_format == "markdown" else runs_as_csv)(self.runs, self.differing)

    def page(self, path: Location) -> Path:
        """Write a self-contained HTML page with the table and the curves of all runs, and return its path."""
        path = Path(path).expanduser()
        write_file(path, overview_page(self.runs, self.differing, self.shared))
        return path

    def record(self) -> dict[str, Any]:
        """Return the overview as JSON."""
        return {"runs": [run_record(run, self.differing) for run in self.runs], "shared": dict(self.shared)}


def run_record(run: RunSummary, differing: Mapping[str, str]) -> dict[str, Any]:
    """Return a run, with the runs of a series or its legs, as JSON."""
    results = {split: {name: finite_or_none(v) for name, v in one.items()} for split, one in run.results.items()}
    record = {
        "run": str(run.folder),
        "kind": run.kind,
        "state": run.state,
        "done": run.done,
        "total": run.total,
        "seconds": run.seconds,
        "problem": run.problem,
        "results": results,
    }
    if run.kind in PARTS:
        return record
    settings = {name: run.settings.get(key) for key, name in differing.items()}
    return {**record, "settings": settings, "parts": [run_record(part, differing) for part in run.parts]}


def compare_runs(folders: Location | Sequence[Location], context: Context) -> Overview:
    """Return an overview of the runs in the given folders. Raise `UserError` if a folder contains no run."""
    places = [folders] if isinstance(folders, str | Path) else list(folders)
    if not places:
        raise UserError("no folder was given; pass a run, or a folder that contains runs")
    found = find_runs([Path(os.path.expanduser(place)) for place in places])
    runs = tuple(map(summarise_run, found))
    each = [run.settings for run in runs if run.settings]
    keys = iter(differing_keys(each, context))
    listed = tuple(next(keys) if run.settings else () for run in runs)
    shared = shared_settings(each)
    names = option_names(each)
    differing = {key: name for key, name in names.items() if any(key in one for one in listed)}
    return Overview(runs, differing, listed, {names[key]: value for key, value in shared.items()})
