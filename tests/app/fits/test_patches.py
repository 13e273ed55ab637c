"""The pictures of a pipeline show its patches, its words, and the words that tell classes apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from imclass.app.draw.sheet import Sheet
from imclass.app.fits import patches
from imclass.app.fits.patches import (
    GRID_FILE,
    TELLING_FILE,
    WORDS_FILE,
    PatchWords,
    contributions,
    describe,
    describing_chain,
    save_patch_pictures,
    save_telling,
)
from imclass.core.targets import OneOf
from imclass.pipelines.encoding import CodebookEncoder, nearest_words
from imclass.pipelines.parts.fisher import Fisher
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.parts.normalise import Normalise
from imclass.pipelines.parts.pyramid import Pyramid
from imclass.pipelines.parts.union import Channel, Union
from imclass.pipelines.parts.vlad import Vlad
from imclass.pipelines.parts.words import VisualWords
from imclass.pipelines.pipeline import Pipeline
from tests.support.parts import Blocks, Colours
from tests.support.small import picture

LABELS = np.arange(12) % 2
PHOTOS = [picture(i, bool(label)) for i, label in enumerate(LABELS)]
SCORER = Logistic((1.0,), folds=2)


def fit(*parts: Any) -> Pipeline:
    return Pipeline(parts, ("cat", "dog")).fit(PHOTOS, OneOf(LABELS))


@pytest.mark.parametrize("encoder", [VisualWords(5, norm="l1"), Vlad(3), Fisher(3)], ids=lambda part: part.kind)
def test_words_add_up_to_the_scores(encoder: CodebookEncoder) -> None:
    pipeline = fit(Blocks(4), Pyramid(("1x1", "1x2")), encoder, Normalise(), SCORER)
    found = contributions(pipeline, encoder, PHOTOS, LABELS)
    assert found is not None and found.shape == (2, encoder.words)  # type: ignore[attr-defined]
    scores = pipeline.classify(PHOTOS).double().numpy()
    expected = [scores[k == LABELS, k].mean() - scores[:, k].mean() for k in (0, 1)]
    assert np.allclose(found.sum(1), expected, atol=1e-5 * np.abs(scores).max())


def test_a_value_of_a_cell_belongs_to_the_word_that_changes_it() -> None:
    for encoder in (VisualWords(5, norm="none"), Vlad(3, power=1.0), Fisher(3)):
        fit(Blocks(4), encoder, SCORER)
        one = describe((Blocks(4),), PHOTOS[:1]).select(np.array([0]))
        values, numbers = encoder.encode(one)[0], encoder.word_numbers()
        assert (
            len(numbers) == encoder.length
            and np.bincount(numbers).tolist() == [encoder.length // encoder.words] * encoder.words
        )
        if encoder.kind != "fisher":  # there, every component has a share of each descriptor
            word = nearest_words(one.values, encoder.arrays()[encoder.codebook])[0][0, 0]
            assert set(numbers[values != 0]) == {word}


def test_patches_are_the_nearest_of_each_photo(tmp_path: Path) -> None:
    found = describe((Blocks(4),), PHOTOS[:2])
    numbers = np.zeros(len(found), np.int64)
    distances = np.arange(len(found), 0, -1).astype(np.float64)  # the last block of each photo is the nearest
    words = PatchWords(PHOTOS[:2], found, numbers, distances)
    assert words.frequent == [0]
    last, first = words.patches(0)
    assert np.array_equal(last, PHOTOS[1][8:, 8:]) and np.array_equal(first, PHOTOS[0][8:, 8:])


def test_words_that_tell_classes_apart_are_shown_by_patches_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    sheets: list[Sheet] = []
    monkeypatch.setattr(patches, "sheet_png", lambda sheet, path: sheets.append(sheet))
    found = describe((Blocks(4),), PHOTOS[:2])
    distances = np.where(found.image == 0, 1.0, 2.0)  # the first class has the nearest patch
    numbers = np.where(np.arange(len(found)) == 1, 1, 0)  # so that word 0 is more frequent in the second class
    words = PatchWords(PHOTOS[:2], found, numbers, distances)
    save_telling(Path("unused"), words, np.ones((2, 2)), LABELS[:2], ("cat", "dog"))
    ((_, _), (name, (patch,))) = sheets[0].rows
    assert name == "dog" and np.array_equal(patch, PHOTOS[1][:4, :4])
    assert not np.array_equal(patch, words.patches(0)[0])


def test_pictures_are_drawn_where_parts_describe_patches(tmp_path: Path) -> None:
    save_patch_pictures(tmp_path / "all", fit(Blocks(4), Pyramid(("2x2",)), VisualWords(4), SCORER), PHOTOS, LABELS)
    assert {path.name for path in (tmp_path / "all").iterdir()} == {GRID_FILE, WORDS_FILE, TELLING_FILE}
    grid = np.asarray(Pillow.open(tmp_path / "all" / GRID_FILE))
    assert tuple(grid[0, 6]) == (0, 120, 215) and tuple(grid[2, 2]) == (255, 140, 0)  # a line and a centre
    union = Union((Channel((Colours(3),)), Channel((Blocks(4), Vlad(2)))))
    save_patch_pictures(tmp_path / "union", fit(union, SCORER), PHOTOS, LABELS)
    assert {path.name for path in (tmp_path / "union").iterdir()} == {GRID_FILE, WORDS_FILE}
    save_patch_pictures(tmp_path / "none", fit(Colours(3), SCORER), PHOTOS, LABELS)
    assert not (tmp_path / "none").exists() and describing_chain(fit(Colours(3), SCORER)) == ()
