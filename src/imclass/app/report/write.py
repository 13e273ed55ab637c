"""The verb `report`: a finished run told on one page, for those who were not there."""
# Tested in tests/app/report/test_page.py

from pathlib import Path

from imclass.app.report.facts import gather
from imclass.app.report.markup import GENERATOR
from imclass.app.report.page import page
from imclass.app.runs.directory import Run
from imclass.core.files import begins, write
from imclass.store.context import Context


def is_report(path: Path) -> bool:
    """Whether a file begins as our pages do."""
    return begins(path, GENERATOR.encode())


def write_report(run: Run, path: Path, context: Context, workers: int = 0, device: str = "cpu") -> Path:
    """Write a finished run's report to `path`, one HTML file that needs nothing else; returns `path`.

    The model is evaluated once more on the held-out split. Where the data is gone the report says so and tells the
    rest. A folder that holds no finished run is a `UserError`.
    """
    write(path, page(gather(run, context, workers, device)))
    return path
