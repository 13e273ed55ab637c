"""All images that a model misclassified, as a CSV file or as a page that shows the images."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow

from imclass.app.report.markup import GENERATOR, Html, document, element, image_element, join_html, name_element
from imclass.core.contracts import Dataset
from imclass.core.errors import BadImage
from imclass.core.files import atomic_writer, has_mark, write_file
from imclass.core.text import escape_formula
from imclass.data.threads import decode_in_order
from imclass.evaluation.measures.mistakes import WrongImage, wrong_images
from imclass.evaluation.results import ResultRow

CSV_HEADER = ("image", "true", "predicted", "probability", "probability_of_true", "rank_of_true")
THUMBNAIL = 160  # pixels; maximum length of the longer side
MISTAKES_SUFFIXES = (".csv", ".html")


def is_mistakes(path: Path) -> bool:
    """Return whether a file begins like a file written by `write_mistakes`."""
    return has_mark(path, GENERATOR.encode()) or has_mark(path, ",".join(f'"{key}"' for key in CSV_HEADER).encode())


def write_mistakes(path: Path, row: ResultRow, dataset: Dataset | None, workers: int = 0) -> None:
    """Write a row's mistakes as CSV or HTML, depending on the extension. With `dataset`, the page shows the images."""
    found = wrong_images(row.evaluation, row.images)
    if path.suffix.lower() == ".csv":
        with atomic_writer(path) as file:
            file.write(as_csv(found).encode())
    else:
        write_file(path, as_page(row, found, dataset, workers))


def as_csv(found: Sequence[WrongImage]) -> str:
    """Return the mistakes as CSV. A name that a spreadsheet would run as a formula gets a leading apostrophe."""
    text = io.StringIO()
    # All texts are quoted: with minimal quoting, a lone \r in a name would stay unquoted and end the line.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(CSV_HEADER)
    for m in found:
        shares = (round(m.probability, 6), round(m.probability_of_true, 6))
        writer.writerow([escape_formula(m.image), escape_formula(m.true), escape_formula(m.predicted), *shares, m.rank])
    return text.getvalue().encode("utf-8", "backslashreplace").decode()


def as_page(row: ResultRow, found: Sequence[WrongImage], dataset: Dataset | None, workers: int = 0) -> Html:
    """Return a self-contained HTML page of the misclassified images. With `dataset`, the page has thumbnails."""
    n = len(row.evaluation.targets)
    lead = f"{len(found):,} of {n:,} images were misclassified. The most confident mistake comes first. Each caption "
    lead += "shows the predicted class with its probability, the true class with its probability and its rank among "
    lead += "all classes, and the name of the image."
    parts = [element("p", "Model ", name_element(row.name, 60), class_="run"), element("h1", "Mistakes")]
    parts += [
        element("p", lead),
        element("p", "Scored: ", row.facts.scope, ". ", row.evaluation.tally, ".", class_="small"),
    ]
    if dataset is None:
        parts.append(element("p", "Images are not shown, because the scores come from a file without images."))
    shown = thumbnails(found, dataset, workers) if dataset is not None else (Html() for _ in found)
    figures = [element("figure", image, caption(m)) for m, image in zip(found, shown, strict=True)]
    return document("Mistakes", element("header", *parts), element("div", *figures, class_="gallery"))


def caption(m: WrongImage) -> Html:
    """Return the caption of a mistake: the predicted class, the true class and the image's name."""
    chosen = element("b", name_element(m.predicted, 28))
    taken = ("predicted ", chosen, " ", element("span", f"({100 * m.probability:.1f}%)"))
    ranked = f"({100 * m.probability_of_true:.1f}%, rank {m.rank:,})"
    true = ("true ", name_element(m.true, 28), " ", element("span", ranked))
    file = element("p", name_element(m.image, 56), class_="file")
    return element("figcaption", element("p", *taken), element("p", *true), file)


def thumbnails(found: Sequence[WrongImage], dataset: Dataset, workers: int) -> Iterator[Html]:
    """Yield a thumbnail for each mistake, or the reason why the image cannot be shown."""
    position_of = {image: i for i, image in enumerate(dataset.ids.tolist())}
    positions = np.array([position_of[m.id] for m in found], np.int64)
    for m, item in zip(found, decode_in_order(dataset, positions, workers), strict=True):
        if isinstance(item, BadImage):
            yield element("p", f"cannot be shown: {item.detail}", class_="small")
        else:
            yield image_element(thumbnail(item), join_html(["predicted as ", m.predicted]))


def thumbnail(image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "h w ..."]:
    """Return an image shrunk to fit in `THUMBNAIL` x `THUMBNAIL` pixels, with the same aspect ratio."""
    small = Pillow.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return np.asarray(small)
