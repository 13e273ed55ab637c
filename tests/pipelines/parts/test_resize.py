"""Images are resized by three rules, and chains that begin with this part work like others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from imclass.app.cli.main import main
from imclass.app.fits.patches import GRID_FILE, TELLING_FILE, WORDS_FILE, describing_chain, save_patch_pictures
from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.pipelines.chain import Chain
from imclass.pipelines.parts.flatten import Flatten
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.parts.resize import ResizeImages
from imclass.pipelines.parts.union import Channel, Union
from imclass.pipelines.parts.words import VisualWords
from imclass.pipelines.pipeline import Pipeline
from imclass.training.events import PartFitted, TaskProgress
from tests.pipelines.test_chain import Counting
from tests.support.command import json_output
from tests.support.parts import Blocks, Colours
from tests.support.small import CLASSES, picture, tree
from tests.training.fits.test_fitter import finish, job, stop_after

LABELS = np.arange(12) % 2
IMAGES = [picture(i, bool(label), 10 + i) for i, label in enumerate(LABELS)]
EXACT = ResizeImages(height=8, width=12)
SCORER = Logistic((1.0,), folds=2)


def shapes(part: ResizeImages, *sizes: tuple[int, int]) -> list[tuple[int, ...]]:
    images = [np.zeros((*size, 3), np.uint8) for size in sizes]
    return [image.shape[:2] for image in part.transform(images)]


def test_three_rules() -> None:
    assert shapes(EXACT, (8, 12), (30, 2), (1, 1)) == [(8, 12)] * 3
    assert shapes(ResizeImages(longest=20), (40, 20), (10, 20), (300, 1)) == [(20, 10), (10, 20), (20, 1)]
    assert shapes(ResizeImages(shorter=20), (40, 80), (10, 5), (20, 30)) == [(20, 40), (40, 20), (20, 30)]
    assert shapes(ResizeImages(shorter=10), (1, 1000)) == [(10, 160)]  # cut to 16 times its height before
    assert EXACT.transform([]) == []


def test_pixels_equal_pillow_also_for_grey_images_in_read_only_memory() -> None:
    for channels in (1, 3):
        image = np.random.default_rng(0).integers(0, 256, (33, 50, channels), np.uint8)
        image.flags.writeable = False
        picture_of = Pillow.fromarray(image.squeeze())
        for part, size in (
            (EXACT, (12, 8)),
            (ResizeImages(longest=25), (25, 16)),
            (ResizeImages(shorter=66), (100, 66)),
        ):
            (found,) = part.transform([image])
            expected = np.asarray(picture_of.resize(size, Pillow.Resampling.BILINEAR)).reshape(found.shape)
            assert np.array_equal(found, expected)
    with pytest.raises(UserError, match="the part resize takes images with 1 or 3 channels, and this one has 4"):
        EXACT.transform([np.zeros((9, 9, 4), np.uint8)])


@pytest.mark.parametrize(
    "fields", [{}, {"height": 8}, {"width": 8}, {"height": 8, "width": 8, "longest": 9}, {"longest": 8, "shorter": 9}]
)
def test_exactly_one_rule_must_be_set(fields: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"resize has height .*; set both --height and --width, or only --longest"):
        ResizeImages(**fields).transform(IMAGES)


def test_a_chain_that_resizes_first_is_processed_image_by_image() -> None:
    counting = Counting(4)
    chain = Chain((ResizeImages(longest=50), EXACT, counting, Flatten()))
    assert chain.by_image and not Chain((EXACT, Colours(3))).by_image and not Chain((EXACT,)).by_image
    chain.fit(IMAGES, OneOf(LABELS), 2)
    vars(counting)["calls"].clear()
    rows = chain.rows(IMAGES)
    assert vars(counting)["calls"] == [1] * 12 and rows.shape == (12, 6 * 3)
    expected = [Blocks(4).transform([EXACT.transform([image])[0]]).values.reshape(-1) for image in IMAGES]
    assert np.array_equal(rows, np.stack(expected))
    with pytest.raises(UserError, match=r"blocks gives descriptors, but resize, .* takes images; put resize first"):
        Chain((Blocks(4), EXACT))
    with pytest.raises(UserError, match=r"resize gives images, but logistic, .* takes rows; leave one of them out, or"):
        Pipeline((EXACT, SCORER), CLASSES)


CHANNELS = Union((Channel((Blocks(4), VisualWords(5))), Channel((ResizeImages(longest=6), Colours(3)))))
CHAINS: dict[str, tuple[Any, ...]] = {
    "words": (EXACT, Blocks(4), VisualWords(5), SCORER),
    "flatten": (ResizeImages(longest=50), EXACT, Blocks(4), Flatten(), SCORER),
    "whole images": (EXACT, Colours(3), SCORER),
    "union": (
        EXACT,
        Union((Channel((Blocks(4), VisualWords(5))), Channel((ResizeImages(longest=6), Colours(3))))),
        SCORER,
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_fit_that_was_stopped_goes_on_with_what_the_store_has(name: str, tmp_path: Path) -> None:
    parts = CHAINS[name]

    def fresh() -> tuple[Any, ...]:
        return tuple(map(replace, parts))

    for calls in (2, 6, 10):
        assert finish(job(tmp_path / "store", *fresh()), stop_after(calls))[1] is None
    fit = job(tmp_path / "store", *fresh(), workers=2)
    _, found = finish(fit)
    _, whole = finish(job(tmp_path / "other", *fresh()))
    assert found is not None and whole is not None
    for split, encoded in found.splits.items():
        images = [fit.splits[split][i] for i in range(len(fit.splits[split]))]
        rows = encoded.rows[0 : len(images)]
        assert np.array_equal(rows, whole.splits[split].rows[0 : len(images)])
        assert np.allclose(rows, found.pipeline.embed(images), atol=1e-6)
    for ours, theirs in zip(found.pipeline.parts, whole.pipeline.parts, strict=True):
        assert all(np.array_equal(array, theirs.arrays()[key]) for key, array in ours.arrays().items())
    events, _ = finish(job(tmp_path / "store", *fresh()))
    assert all(event.stored for event in events if isinstance(event, PartFitted))
    assert {event.computed for event in events if isinstance(event, TaskProgress) and event.unit == "images"} == {0}


def test_another_size_is_another_key_in_the_store(tmp_path: Path) -> None:
    finish(job(tmp_path, *CHAINS["words"]))
    events, _ = finish(job(tmp_path, ResizeImages(height=8, width=8), *CHAINS["words"][1:]))
    assert not any(event.stored for event in events if isinstance(event, PartFitted))


@pytest.mark.parametrize("union", [False, True])
def test_a_report_shows_patches_of_the_resized_images(union: bool, tmp_path: Path) -> None:
    inner: tuple[Any, ...] = (Blocks(4), VisualWords(4))
    pipeline = Pipeline((EXACT, Union((Channel(inner),)), SCORER) if union else (EXACT, *inner, SCORER), CLASSES)
    pipeline.fit(IMAGES, OneOf(LABELS))
    assert [part.kind for part in describing_chain(pipeline)] == ["resize", "blocks", "words"]
    save_patch_pictures(tmp_path / "patches", pipeline, IMAGES, LABELS)
    assert {path.name for path in (tmp_path / "patches").iterdir()} == {GRID_FILE, WORDS_FILE} | (
        set() if union else {TELLING_FILE}
    )
    grid = np.asarray(Pillow.open(tmp_path / "patches" / GRID_FILE))
    assert grid.shape == (8, 12, 3) and tuple(grid[2, 10]) == (255, 140, 0)  # the centre of the last block in a row


@pytest.mark.slow
def test_a_pipeline_of_the_command_line_resizes_photos_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMCLASS_STORE", "store")
    tree(tmp_path / "photos", 6, side=20)
    for name in CLASSES:
        for i in range(6):
            Pillow.fromarray(picture(i, name == "dog", 24)).save(tmp_path / "photos" / name / f"large {i}.png")
    words = ["train", "folder-bow-spm", "--data", "photos", "--out", "run", "--parts.hog.cell", "4"]
    words += ["--parts.linear-svm.folds", "2", "--parts"]
    assert main([*words, "hog", "flatten", "linear-svm"]) == 2
    assert "put the part resize first" in capsys.readouterr().err
    words += ["resize", "hog", "flatten", "linear-svm", "--parts.resize.height", "16"]
    assert main(words) == 2
    assert "set both --parts.resize.height and --parts.resize.width, or only" in capsys.readouterr().err
    record = json_output(capsys, *words, "--parts.resize.width", "24")
    assert record["metrics"]["test"]["top1"] == 1
    assert (tmp_path / "run" / "patches" / GRID_FILE).is_file() and (tmp_path / "run" / "report.html").is_file()
    assert main(["predict", "run", "photos/cat/large 0.png", "--top", "1"]) == 0 and "cat" in capsys.readouterr().out
