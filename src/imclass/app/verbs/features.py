"""The verb `features`: write the features of images to a file, or draw them."""

import sys
from pathlib import Path

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
    extract_features,
    feature_options,
    prepare_extraction,
)
from imclass.app.features.files import check_extension, is_features_file
from imclass.app.features.projection import Method, check_points
from imclass.app.features.result import Features
from imclass.app.writing import check_target
from imclass.core.codec import to_json
from imclass.core.errors import UserError
from imclass.core.text import printable_text
from imclass.pipelines.parts.network_features import LAYER
from imclass.serving.features import check_maps_shape
from imclass.serving.inputs import gather_files


def check_outputs(out: Path | None, map_: Path | None, grid: Path | None) -> None:
    """Raise `UserError` if no output is requested, or if a file cannot be written."""
    if out is None and map_ is None and grid is None:
        raise UserError(
            "no output was requested; pass --out FILE.npz for the numbers, --map FILE.png for a map of the images, or "
            "--grid FILE.png for a picture of the feature maps"
        )
    if out is not None:
        check_extension(out, ())
    check_target(out, "--out", "", is_features_file)
    check_target(grid, "--grid", ".png", is_our_picture)
    check_target(map_, "--map", ".png", is_our_picture)
    if map_ is not None and map_ == grid:
        raise UserError(f"--map and --grid name the same file, {map_}; choose a different file for each")


def check_shapes(prepared: Extraction, out: Path | None, map_: Path | None, grid: Path | None) -> None:
    """Raise `UserError` if the layer's outputs do not fit the requested files."""
    if grid is not None:
        check_maps_shape(prepared.extractor)
    if out is not None:
        check_extension(out, prepared.extractor.shape)
    if map_ is not None:
        check_points(prepared.images.total, prepared.extractor.shape)


def write_files(found: Features, out: Path | None, map_: Path | None, grid: Path | None, method: Method) -> None:
    """Write the requested files."""
    if out is not None:
        found.save(out)
        if found.refused and out.suffix.lower() == ".npy":
            print_notes(["images were left out, and an .npy file does not name the remaining ones; write .npz instead"])
    if grid is not None:
        grid_png(found.features[0], grid)
    if map_ is not None:
        if method == "tsne":
            print_notes(["drawing the map; with thousands of images, t-SNE takes a minute"])
        found.map(map_, method)


def run(arguments: FeaturesArguments) -> Answer:
    """Write or draw the features of images. Print refused images on standard error."""
    outputs = (arguments.out, arguments.map, arguments.grid)
    check_outputs(*outputs)
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
        prepared = prepare_extraction(
            arguments.model, files, arguments.data, arguments.split, options, arguments.device, context, progress
        )
        check_shapes(prepared, *outputs)
        if prepared.images.scope:
            progress.note(f"features of {prepared.images.scope}")
        folder = arguments.out.parent if arguments.out else None
        found = extract_features(prepared, arguments.workers, context.max_pixels, progress, folder)
    for refused in found.refused:
        print(f"refused: {printable_text(refused.path)}: {printable_text(refused.detail)}", file=sys.stderr)
    grid = map_grid(found.features[0]) if arguments.grid else None
    write_files(found, *outputs, arguments.method)
    shape = list(found.features.shape)
    written = [printable_text(str(path)) for path in outputs if path]
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
