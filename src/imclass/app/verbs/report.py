"""The verb `report`: a finished run as one page."""
# Tested in tests/app/report/test_page.py

from imclass.app.cli.answer import show
from imclass.app.cli.arguments import DONE, Report
from imclass.app.cli.checks import check_target, check_workers, context_of
from imclass.app.report.write import is_report, write_report
from imclass.app.runs.directory import Run
from imclass.core.text import printable


def run(own: Report) -> int:
    """Write a finished run's page."""
    check_workers(own.workers)
    check_target(own.out, "--out", ".html", is_report)
    run = Run(own.run)
    path = write_report(run, own.out or run.folder / "report.html", context_of(own.common), own.workers, own.device)
    show({"report": str(path)}) if own.common.json else print(printable(str(path)))
    return DONE
