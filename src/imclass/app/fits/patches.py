"""Pictures of what a fitted pipeline looks at: its patches, its visual words, and the words that tell classes apart."""
# Tested in tests/app/fits/test_patches.py

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64
from PIL import Image as Pillow
from PIL import ImageDraw

from imclass.app.draw.sheet import Sheet, sheet_png
from imclass.core.contracts import Image
from imclass.pipelines.chain import Chain, count_image_parts
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.encoding import CodebookEncoder, nearest_words
from imclass.pipelines.part import Feature, LinearScorer
from imclass.pipelines.parts.normalise import Normalise
from imclass.pipelines.pipeline import Pipeline

PATCH_FOLDER = "patches"  # subfolder of a run
GRID_FILE, WORDS_FILE, TELLING_FILE = "grid.png", "words.png", "telling.png"
MAX_PHOTOS = 32  # from which patches are cut
WORD_ROWS, CLASS_ROWS, PATCHES = 8, 24, 8  # words and classes in a sheet, and patches in a row
DOT, LINE = (255, 140, 0), (0, 120, 215)  # colours of centres and patches, and of cells


@dataclass(frozen=True, eq=False)
class PatchWords:
    """The descriptors of some photos, and the nearest visual word of each."""

    photos: Sequence[Image]
    found: Descriptors
    numbers: Int64[np.ndarray, "D"]
    distances: Float64[np.ndarray, "D"]

    def patches(self, word: int, among: Bool[np.ndarray, "D"] | None = None) -> list[Image]:
        """Return the patches that are nearest to a word, at most one of each photo.

        `among` marks the descriptors to choose from.
        """
        mine = np.flatnonzero((self.numbers == word) & (True if among is None else among))
        mine = mine[np.argsort(self.distances[mine], kind="stable")]
        _, first = np.unique(self.found.image[mine], return_index=True)
        return [self.patch(i) for i in mine[np.sort(first)][:PATCHES].tolist()]

    def patch(self, i: int) -> Image:
        """Return the pixels of a patch, without what lies outside the photo."""
        photo, half = self.photos[self.found.image[i]], float(self.found.scales[i]) / 2
        (x, y), (height, width) = self.found.positions[i].tolist(), photo.shape[:2]
        top, left = min(max(0, round(y - half)), height - 1), min(max(0, round(x - half)), width - 1)
        return photo[top : max(top + 1, round(y + half)), left : max(left + 1, round(x + half))]

    @cached_property
    def frequent(self) -> list[int]:
        """Return the words by the number of their descriptors, the most frequent first."""
        counts = np.bincount(self.numbers)
        return [word for word in np.argsort(-counts, kind="stable").tolist() if counts[word]]


def save_patch_pictures(
    folder: Path, pipeline: Pipeline, photos: Sequence[Image], labels: Int64[np.ndarray, "N"] | None
) -> None:
    """Write `folder` with the pictures, completely or not at all. Write none if no part describes patches.

    `labels` are the classes of the photos, or None if a photo may have several.
    """
    chain = describing_chain(pipeline)
    if not chain or not photos:
        return
    working = folder.parent / f".{folder.name}.part"
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    try:
        draw_patches(working, pipeline, chain, photos, labels)
        shutil.rmtree(folder, ignore_errors=True)
        working.rename(folder)
    except BaseException:
        shutil.rmtree(working, ignore_errors=True)
        raise


def draw_patches(
    folder: Path,
    pipeline: Pipeline,
    chain: Sequence[Feature],
    photos: Sequence[Image],
    labels: Int64[np.ndarray, "N"] | None,
) -> None:
    """Write each picture that applies to the parts in `chain`, which are those up to the encoder.

    If a part resizes the photos, the pictures show the resized ones, in which the patches lie.
    """
    *before, last = chain
    at = count_image_parts(before)
    shown: Sequence[Image] = Chain(tuple(before[:at])).transform(photos)
    found = describe(before[at:], shown)
    draw_grid(shown[0], found.of_each_image()[0]).save(folder / GRID_FILE)
    if not isinstance(last, CodebookEncoder) or not len(found):
        return
    numbers, distances = nearest_words(found.values, last.arrays()[last.codebook])
    words = PatchWords(shown, found, numbers[:, 0], distances[:, 0].astype(np.float64))
    totals = None if labels is None else contributions(pipeline, last, photos, labels)
    order, which = words.frequent, "the most frequent visual words"
    if totals is not None:
        order = sorted(order, key=np.abs(totals).sum(0).__getitem__, reverse=True)
        which = "the visual words that change the scores most"
    rows = [(f"word {word}", words.patches(word)) for word in order[:WORD_ROWS]]
    sheet_png(Sheet(f"Patches nearest to {which}", rows), folder / WORDS_FILE)
    if totals is not None and labels is not None:
        save_telling(folder / TELLING_FILE, words, totals, labels, pipeline.classes)


def describing_chain(pipeline: Pipeline) -> tuple[Feature, ...]:
    """Return the parts from the first to the encoder, or none if no part describes patches.

    In a union, they are those of the first channel that describes patches. Only `resize` may precede such a part.
    """
    parts = pipeline.chain.parts
    at = count_image_parts(parts)
    channels = [(*parts[:at], *channel) for part in parts[at : at + 1] for channel in part.channels_of()]
    for chain in (parts, *channels):
        if Chain(chain).by_image:
            end = next(i for i, part in enumerate(chain) if part.gives == "rows")
            return chain[: end + 1]
    return ()


def describe(parts: Sequence[Feature], photos: Sequence[Image]) -> Descriptors:
    """Return the descriptors of the photos, after all parts but the encoder."""
    x: Descriptors = parts[0].transform(photos)
    for part in parts[1:]:
        x = part.transform(x)
    return x


def draw_grid(photo: Image, found: Descriptors) -> Pillow.Image:
    """Return a photo with the centres of its smallest patches, a patch of each size, and the pyramid's finest cells."""
    picture = Pillow.fromarray(np.ascontiguousarray(np.broadcast_to(photo, (*photo.shape[:2], 3))))
    pen, (height, width) = ImageDraw.Draw(picture), photo.shape[:2]
    rows, columns = max(found.grids, key=lambda grid: grid[0] * grid[1])
    for i in range(1, rows):
        pen.line([(0, height * i / rows), (width, height * i / rows)], fill=LINE, width=2)
    for i in range(1, columns):
        pen.line([(width * i / columns, 0), (width * i / columns, height)], fill=LINE, width=2)
    for side in np.unique(found.scales).tolist():
        centres = found.positions[found.scales == side]
        if side == found.scales.min():
            for across, down in centres.tolist():
                pen.ellipse([across - 1, down - 1, across + 1, down + 1], fill=DOT)
        x, y = centres[np.square(centres - (width / 2, height / 2)).sum(1).argmin()].tolist()
        pen.rectangle([x - side / 2, y - side / 2, x + side / 2, y + side / 2], outline=DOT)
    return picture


def contributions(
    pipeline: Pipeline, encoder: CodebookEncoder, photos: Sequence[Image], labels: Int64[np.ndarray, "N"]
) -> Float64[np.ndarray, "K W"] | None:
    """Return how much each visual word adds to each class's score for photos of that class, more than for all photos.

    Return None if the scores are not linear in the encoder's values, or if they come from several channels.
    """
    at, scorer = pipeline.parts.index(encoder) if encoder in pipeline.parts else -1, pipeline.scorer
    between = pipeline.parts[at + 1 : -1]
    powers = [part.power for part in between if isinstance(part, Normalise)]
    if at < 0 or not isinstance(scorer, LinearScorer) or len(powers) < len(between):
        return None
    rows = np.asarray(pipeline.embed(photos), np.float64)
    rows -= rows.mean(0)
    weights = scorer.linear_model()[0]
    words = np.tile(encoder.word_numbers(), rows.shape[1] // encoder.length)
    means = [rows[labels == k].mean(0) if (labels == k).any() else np.zeros(rows.shape[1]) for k in range(len(weights))]
    return np.stack([np.bincount(words, w * mean) for w, mean in zip(weights, means, strict=True)])


def save_telling(
    path: Path,
    words: PatchWords,
    totals: Float64[np.ndarray, "K W"],
    labels: Int64[np.ndarray, "N"],
    classes: Sequence[str],
) -> None:
    """Draw the patches of the words that add most to each class's score, one for each word, from photos of the class.

    Only words that are more frequent in photos of the class than in others are drawn. A word may also add to the score
    because it is rare there, but its patch would be misleading.
    """
    rows = []
    for k, total in enumerate(totals[:CLASS_ROWS]):
        inside = labels[words.found.image] == k
        counts = [np.bincount(words.numbers[mask], minlength=len(total)) for mask in (inside, ~inside)]
        here, elsewhere = (count / max(1, count.sum()) for count in counts)
        kept = (total > 0) & (here > elsewhere)
        best = [word for word in np.argsort(-total, kind="stable").tolist() if kept[word]]
        rows.append((classes[k], [words.patches(word, inside)[0] for word in best[:PATCHES]]))
    sheet_png(Sheet("Visual words that add most to the score of each class", rows), path)
