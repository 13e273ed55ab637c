"""The verb `explain`: draw where in each photo a network finds a class."""

from collections.abc import Sequence
from pathlib import Path

from imclass.app.cli.answer import Answer, print_line, print_notes
from imclass.app.cli.arguments import DONE, SOME_REFUSED, ExplainArguments
from imclass.app.cli.checks import context_of
from imclass.app.cli.progress import EvaluationProgress
from imclass.app.draw.canvas import is_our_picture
from imclass.app.explain.explain import Explained, prepare_explainer
from imclass.app.features.extract import check_not_data
from imclass.app.writing import check_target
from imclass.core.codec import to_json
from imclass.core.errors import UserError
from imclass.core.text import printable_text
from imclass.serving.inputs import gather_files


def picture_files(out: Path, photos: Sequence[str]) -> list[Path]:
    """Return the file of each photo's picture, named after the photo, with a number if the name is already taken.

    Raise `UserError` if a file exists that is not a picture of ours.
    """
    taken: set[str] = set()
    files = []
    for photo in photos:
        stem, number = Path(photo).stem, 1
        while (name := stem if number == 1 else f"{stem}-{number}").casefold() in taken:
            number += 1
        taken.add(name.casefold())
        files.append(out / f"{name}.png")
        if out.is_dir():
            check_target(files[-1], "--out", ours=is_our_picture)
    return files


def check_folder(out: Path | None) -> Path:
    """Return the folder to write to. Raise `UserError` if there is none, or if it cannot be created."""
    if out is None:
        raise UserError("imclass explain requires --out DIR, the folder of the pictures")
    if not out.is_dir():
        check_target(out, "--out")
    return out


def record_of(found: Explained, file: Path) -> dict[str, object]:
    """Return an explanation as a JSON record."""
    if found.refused:
        return {"path": found.name, "refused": to_json(found.refused)}
    maps = [
        {"scale": each.scale, "positions": list(each.values.shape), "highest": each.highest, "window": each.window}
        for each in found.maps
    ]
    record = {"path": found.name, "class": found.class_name, "probability": found.probability}
    return record | {"picture": str(file), "maps": maps}


def run(arguments: ExplainArguments) -> Answer:
    """Draw a picture for each photo. Print refused photos on standard error."""
    out = check_folder(arguments.out)
    context = context_of(arguments.common, arguments.max_megapixels)
    check_not_data(arguments.paths, context)
    photos = gather_files(arguments.paths)
    print_notes(photos.notes)
    files = picture_files(out, photos.paths)
    records, lines, refused = [], [], 0
    with EvaluationProgress() as progress:
        chosen = (arguments.class_, arguments.method, arguments.scales, arguments.workers, arguments.device)
        explainer = prepare_explainer(arguments.model, *chosen, context, progress)
        out.mkdir(exist_ok=True)
        images = explainer.explain(photos, context.max_pixels)
        for done, (found, file) in enumerate(zip(images, files, strict=True), 1):
            records.append(record_of(found, file))
            if found.refused:
                refused += 1
                print_line(f"refused: {found.name}: {found.refused.detail}")
            else:
                found.save(file)
                lines.append(f"{printable_text(str(file))}: {found.summary}")
            progress.count("photos", done, len(photos))
    return Answer(records, "\n".join(lines), SOME_REFUSED if refused else DONE)
