"""The verb `evaluate`: print the result of `imclass.evaluate`, and write the requested files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from imclass.app import api
from imclass.app.cli.answer import Answer, print_line
from imclass.app.cli.arguments import DONE, SOME_REFUSED, EvaluateArguments
from imclass.app.cli.checks import read_class_mapping, store_of
from imclass.app.cli.progress import EvaluationProgress
from imclass.app.draw.canvas import is_our_picture
from imclass.app.evaluation.result import Result
from imclass.app.report.mistakes import MISTAKES_SUFFIXES, is_mistakes
from imclass.app.writing import check_target, never_ours
from imclass.core.errors import UserError, require
from imclass.evaluation.results import is_scores_file
from imclass.models.classifier import model_path

# The file extension that each option requires, and a function that says whether an existing file may be replaced.
OUTPUT_RULES: Mapping[str, tuple[str, Callable[[Path], bool]]] = {
    "--plot": (".png", is_our_picture),
    "--reliability": (".png", is_our_picture),
    "--mistakes": ("", is_mistakes),
    "--save": (".safetensors", never_ours),
    "--save-scores": (".npz", is_scores_file),
}
# Methods of a result that some evaluations do not allow, keyed by the option that calls them.
USES = {use: use for use in ("changed", "plot", "reliability", "table", "mistakes")} | {"save": "save_model"}


def check_files(models: Sequence[Path], files: Mapping[str, Path | None]) -> None:
    """Raise a `UserError` if a file cannot be written, or if two paths are the same. `files` is keyed by option."""
    mistakes = files["--mistakes"]
    suffix = mistakes.suffix.lower() if mistakes else MISTAKES_SUFFIXES[0]
    require(suffix in MISTAKES_SUFFIXES, "mistakes", mistakes, "a file whose name ends in .csv or .html")
    for option, path in files.items():
        check_target(path, option, *OUTPUT_RULES[option])
    paths = [*models, *(file for file in files.values() if file is not None)]
    places = [model_path(path).resolve() for path in paths]
    twice = next((path for path, place in zip(paths, places, strict=True) if places.count(place) > 1), None)
    if twice is not None and models.count(twice) < 2:  # a repeated model is reported later
        raise UserError(f"two arguments name the same file, {twice}; choose a different file for each")


def write_files(result: Result, files: Mapping[str, Path | None]) -> None:
    """Write the requested files: pictures, mistakes, scores and model. Print each file's path on standard error."""
    writers: dict[str, Callable[[Path], object]] = {
        "--plot": result.plot,
        "--reliability": result.reliability,
        "--mistakes": result.mistakes,
        "--save-scores": result.save_scores,
        "--save": result.save_model,
    }
    for option, write in writers.items():
        if path := files[option]:
            write(path)
            print_line(f"wrote {path}")


def run(arguments: EvaluateArguments) -> Answer:
    """Score each model on a split and, if there are several, all of them fused."""
    require(arguments.changed >= 0, "changed", arguments.changed, "0 or more images")
    files = {
        "--plot": arguments.plot,
        "--reliability": arguments.reliability,
        "--mistakes": arguments.mistakes,
        "--save": arguments.save,
        "--save-scores": arguments.save_scores,
    }
    check_files(arguments.models, files)
    with EvaluationProgress() as progress:
        result = api.evaluate(
            arguments.models,
            arguments.data,
            split=arguments.split,
            trained=arguments.trained,
            protocol=arguments.protocol,
            scales=arguments.scales,
            weights=arguments.weights,
            temperature=arguments.temperature,
            thresholds=arguments.thresholds,
            classes=read_class_mapping(arguments.classes),
            batch=arguments.batch,
            workers=arguments.workers,
            strict=arguments.strict,
            precision=arguments.precision,
            device=arguments.device,
            store=store_of(arguments.common),
            plugins=arguments.common.plugins,
            max_megapixels=arguments.max_megapixels,
            uses=[use for option, use in USES.items() if getattr(arguments, option)],
            progress=progress,
        )
    if not result.rows:  # under torchrun, in every process but the first
        return Answer()
    code = SOME_REFUSED if result.evaluation.refused else DONE
    answer = Answer(result.record(arguments.changed), code=code, last=lambda: write_files(result, files))
    if arguments.table is None:
        return replace(answer, text=result.text(arguments.changed))
    table = result.table(arguments.table, arguments.table_format)
    notes = (result.evaluation.tally,)
    return replace(answer, record=answer.record | {"table": table}, text=table.rstrip("\n"), notes=notes)
