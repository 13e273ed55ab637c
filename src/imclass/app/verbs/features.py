"""The verb `features`: write or draw the outputs of one layer of a network."""

import sys

from imclass.app.cli.answer import Answer, print_notes
from imclass.app.cli.arguments import DONE, SOME_REFUSED, FeaturesArguments
from imclass.app.cli.checks import context_of
from imclass.app.cli.progress import EvaluationProgress
from imclass.app.draw.canvas import is_our_picture
from imclass.app.draw.grid import grid_png, map_grid
from imclass.app.features.extract import (
    Extraction,
    check_not_data,
    check_one_source,
    extract,
    feature_options,
    prepare,
)
from imclass.app.features.files import check_format, is_features_file
from imclass.app.features.projection import check_points
from imclass.app.features.result import Features
from imclass.app.writing import check_target
from imclass.core.codec import to_json
from imclass.core.errors import UserError
from imclass.core.text import printable_text
from imclass.pipelines.parts.network_features import LAYER
from imclass.serving.features import check_maps_shape
from imclass.serving.inputs import gather_files


def check_outputs(arguments: FeaturesArguments) -> None:
    """Raise `UserError` if no output is requested, or if a file cannot be written."""
    if arguments.out is None and arguments.grid is None and arguments.map is None:
        raise UserError(
            "no output was requested; pass --out FILE.npz for the numbers, --map FILE.png for a map of the images, or "
            "--grid FILE.png for a picture of the feature maps"
        )
    if arguments.out is not None:
        check_format(arguments.out, ())
    check_target(arguments.out, "--out", "", is_features_file)
    check_target(arguments.grid, "--grid", ".png", is_our_picture)
    check_target(arguments.map, "--map", ".png", is_our_picture)
    if arguments.map is not None and arguments.map == arguments.grid:
        raise UserError(f"--map and --grid name the same file, {arguments.map}; choose a different file for each")


def check_shapes(arguments: FeaturesArguments, prepared: Extraction) -> None:
    """Raise `UserError` if the layer's outputs do not fit the requested files."""
    shape, total = prepared.extractor.shape, prepared.images.total
    if arguments.grid is not None:
        check_maps_shape(prepared.extractor)
    if arguments.out is not None:
        check_format(arguments.out, shape)
    if arguments.map is not None:
        check_points(total, shape)


def run(arguments: FeaturesArguments) -> Answer:
    """Write or draw the features of images. Print refused images on standard error."""
    check_outputs(arguments)
    check_one_source(arguments.paths or None, arguments.data, arguments.split)
    layer = LAYER if arguments.layer is None and arguments.grid is None else arguments.layer
    options = feature_options(
        layer, arguments.scales, arguments.mirror, arguments.normalise, arguments.precision, arguments.workers
    )
    context = context_of(arguments.common, arguments.max_megapixels)
    check_not_data(arguments.paths, context)
    files = gather_files(arguments.paths) if arguments.paths else None
    print_notes(files.notes if files else ())
    with EvaluationProgress() as progress:
        prepared = prepare(
            arguments.model, files, arguments.data, arguments.split, options, arguments.device, context, progress
        )
        check_shapes(arguments, prepared)
        if prepared.images.scope:
            progress.note(f"features of {prepared.images.scope}")
        folder = arguments.out.parent if arguments.out else None
        found = extract(prepared, arguments.workers, context.max_pixels, progress, folder)
    for refused in found.refused:
        print(f"refused: {printable_text(refused.path)}: {printable_text(refused.detail)}", file=sys.stderr)
    grid = map_grid(found.features[0]) if arguments.grid else None
    write_files(arguments, found)
    shape = list(found.features.shape)
    written = [printable_text(str(path)) for path in (arguments.out, arguments.map, arguments.grid) if path]
    return Answer(
        {
            "layer": found.layer,
            "shape": shape,
            "grid": list(grid.shape) if grid is not None else None,
            "paths": found.names,
            "notes": list(files.notes) if files else [],
            "refused": to_json(found.refused),
        },
        "\n".join([f"{found.layer}: {' x '.join(map(str, shape))}", *written]),
        SOME_REFUSED if found.refused else DONE,
    )


def write_files(arguments: FeaturesArguments, found: Features) -> None:
    """Write the requested files."""
    if arguments.out:
        found.save(arguments.out)
        if found.refused and arguments.out.suffix.lower() == ".npy":
            print_notes(
                ["the rows of an .npy file have no names, and images were left out; an .npz file has the names"]
            )
    if arguments.grid:
        grid_png(found.features[0], arguments.grid)
    if arguments.map:
        found.map(arguments.map, arguments.method)
