"""The verb `report`: write a report on a run or on any other model."""
# Tested in tests/app/report/test_page.py

from imclass.app import api
from imclass.app.cli.answer import Answer
from imclass.app.cli.arguments import ReportArguments
from imclass.app.cli.checks import check_workers, read_class_mapping, store_of
from imclass.app.cli.progress import EvaluationProgress
from imclass.core.text import printable_text


def run(arguments: ReportArguments) -> Answer:
    """Write the report and print its path."""
    check_workers(arguments.workers)
    with EvaluationProgress() as progress:
        path = api.report(
            arguments.model,
            arguments.data,
            arguments.out,
            split=arguments.split,
            trained=arguments.trained,
            protocol=arguments.protocol,
            classes=read_class_mapping(arguments.classes),
            batch=arguments.batch,
            workers=arguments.workers,
            device=arguments.device,
            store=store_of(arguments.common),
            plugins=arguments.common.plugins,
            max_megapixels=arguments.max_megapixels,
            progress=progress,
        )
    return Answer({"report": str(path)}, printable_text(str(path)))
