"""The section of a report that shows what a pipeline looks at."""
# Tested in tests/app/fits/test_patches.py

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from imclass.app.fits.patches import GRID_FILE, PATCH_FOLDER, TELLING_FILE, WORDS_FILE
from imclass.app.report.facts import ReportData
from imclass.app.report.markup import Html, element, image_element, join_html

CAPTIONS = {
    GRID_FILE: "Orange dots are the centres of the smallest patches. One patch of each size is drawn in the middle. "
    "Blue lines are the finest cells of the spatial pyramid.",
    WORDS_FILE: "Each row has the patches that are nearest to a visual word, at most one of each photo.",
    TELLING_FILE: "Each row has the visual words that add most to the score of a class, of those that are more "
    "frequent in its photos than in others. A word is shown by its nearest patch in these photos.",
}


def patches_section(m: ReportData) -> Html:
    """Return the pictures of patches and visual words that a run has, or empty markup."""
    folder = m.folder / PATCH_FOLDER if m.folder else None
    if folder is None or not folder.is_dir():
        return Html()
    return join_html(
        [picture_figure(folder / name, text) for name, text in CAPTIONS.items() if (folder / name).is_file()]
    )


def picture_figure(path: Path, text: str) -> Html:
    """Return a figure with a picture from a file. Return empty markup if the file is damaged."""
    try:
        with Pillow.open(path) as opened:
            pixels = np.asarray(opened.convert("RGB"), np.uint8)
    except (OSError, ValueError):
        return Html()
    return element("figure", image_element(pixels, path.stem), element("figcaption", text))
