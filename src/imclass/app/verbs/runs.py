"""The verb `runs`: compare runs by their settings and results."""

from imclass.app import api
from imclass.app.cli.answer import Answer, print_line
from imclass.app.cli.arguments import RunsArguments
from imclass.app.cli.lists import terminal_width
from imclass.app.report.write import is_report
from imclass.app.writing import check_target


def run(arguments: RunsArguments) -> Answer:
    """Print a table of runs and, if requested, write it as a page."""
    out, form = arguments.out, arguments.table_format
    check_target(out, "--out", ".html", is_report)
    overview = api.runs(arguments.folders or "runs", plugins=arguments.common.plugins)
    text = overview.text(terminal_width()) if form == "text" else overview.table(form).rstrip("\n")
    return Answer(
        overview.record(), text, last=None if out is None else lambda: print_line(f"wrote {overview.page(out)}")
    )
