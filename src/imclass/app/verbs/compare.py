"""The verb `compare`: test whether two models, or two files of saved scores, differ significantly."""

from imclass.app import api
from imclass.app.cli.answer import Answer
from imclass.app.cli.arguments import DONE, SOME_REFUSED, CompareArguments
from imclass.app.cli.checks import read_class_mapping, store_of
from imclass.app.cli.progress import EvaluationProgress
from imclass.app.evaluation.comparison import check_comparison


def run(arguments: CompareArguments) -> Answer:
    """Compare two models on the same images."""
    check_comparison(arguments.protocol, arguments.list)
    with EvaluationProgress() as progress:
        result = api.evaluate(
            (arguments.a, arguments.b),
            arguments.data,
            split=arguments.split,
            trained=arguments.trained,
            protocol=arguments.protocol,
            weights="none",
            uses=("compare",),
            classes=read_class_mapping(arguments.classes),
            batch=arguments.batch,
            workers=arguments.workers,
            device=arguments.device,
            store=store_of(arguments.common),
            plugins=arguments.common.plugins,
            max_megapixels=arguments.max_megapixels,
            progress=progress,
        )
    if not result.rows:  # under torchrun, in every process but the first
        return Answer()
    found = result.compare(arguments.list)
    refused = found.a.evaluation.refused or found.b.evaluation.refused
    return Answer(found.record(), found.text(), SOME_REFUSED if refused else DONE)
