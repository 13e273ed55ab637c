"""The verb `features`: write or draw the outputs of one layer of a network."""

import sys

from imclass.app.cli.answer import Answer, print_json, print_notes
from imclass.app.cli.arguments import DONE, SOME_REFUSED, FeaturesArguments
from imclass.app.cli.checks import check_workers, context_of
from imclass.app.draw.canvas import is_our_picture
from imclass.app.draw.grid import grid_png, map_grid
from imclass.app.load import load_network
from imclass.app.writing import check_target
from imclass.core.codec import to_json
from imclass.core.errors import UserError
from imclass.core.files import atomic_writer, has_mark
from imclass.core.text import printable_text
from imclass.serving.features import first_maps, layer_outputs
from imclass.serving.inputs import gather_files


def run(arguments: FeaturesArguments) -> Answer:
    """Write or draw the outputs of a layer."""
    if arguments.out is None and arguments.grid is None:
        raise UserError("no output was requested; pass --out FILE.npy for an array, or --grid FILE.png for a picture")
    check_workers(arguments.workers)
    check_target(arguments.out, "--out", ".npy", lambda path: has_mark(path, b"\x93NUMPY"))
    check_target(arguments.grid, "--grid", ".png", is_our_picture)
    files = gather_files(arguments.paths)
    print_notes(files.notes)
    context = context_of(arguments.common, arguments.max_megapixels)
    classifier = load_network(arguments.model, context, arguments.device, print_notes)
    features = layer_outputs(
        classifier, files, arguments.layer, workers=arguments.workers, max_pixels=context.max_pixels
    )
    for refused in features.refused:
        print(f"refused: {printable_text(refused.path)}: {printable_text(refused.detail)}", file=sys.stderr)
    picture = map_grid(first_maps(features)) if arguments.grid else None
    if arguments.out:
        import numpy

        with atomic_writer(arguments.out) as file:
            numpy.save(file, features.outputs, allow_pickle=False)
    if arguments.grid:
        grid_png(first_maps(features), arguments.grid)
    shape = list(features.outputs.shape)
    if arguments.common.json:
        grid_shape = list(picture.shape) if picture is not None else None
        print_json(
            {
                "layer": features.layer,
                "shape": shape,
                "grid": grid_shape,
                "paths": features.paths,
                "notes": list(files.notes),
                "refused": to_json(features.refused),
            }
        )
    else:
        written = [printable_text(str(path)) for path in (arguments.out, arguments.grid) if path]
        print("\n".join([f"{features.layer}: {' x '.join(map(str, shape))}", *written]))
    return Answer(code=SOME_REFUSED if features.refused else DONE)
