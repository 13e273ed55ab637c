"""Predictions for image files are in order and name the classifier's classes; refused files keep their places."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from imclass.core.contracts import Image
from imclass.core.errors import UserError
from imclass.data.images.decode import decode
from imclass.serving import inputs
from imclass.serving.inputs import Files
from imclass.serving.predict import Prediction, check_number, predict
from tests.support.small import picture, tree
from tests.support.stubs import Stub


class ByBrightness(Stub):
    """Classifier whose scores depend on an image's mean; it records the sizes of batches."""

    classes = ("dark", "grey", "light")

    def __init__(self) -> None:
        self.batches: list[int] = []

    def classify(self, images: Sequence[Image]) -> torch.Tensor:
        self.batches.append(len(images))
        return torch.tensor([scores(image) for image in images], dtype=torch.float32)


def scores(image: Image) -> list[float]:
    mean = float(image.mean())
    return [-mean / 10, -abs(mean - 128) / 10, mean / 10 - 20]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return six images, with a broken file before the third and another after the last."""
    paths = sorted(tree(tmp_path / "pets", per_class=3).rglob("*.png"))
    for name in ("bad", "worse"):
        (tmp_path / f"{name}.png").write_bytes(b"")
    return Files(tuple(map(str, [*paths[:2], tmp_path / "bad.png", *paths[2:], tmp_path / "worse.png"])))


@pytest.mark.parametrize(("batch", "workers"), [(1, 0), (3, 0), (32, 2)])
def test_each_file_has_a_prediction_in_its_place(files: Files, batch: int, workers: int) -> None:
    classifier = ByBrightness()
    found = list(predict(classifier, files, top=2, batch=batch, workers=workers))
    assert [p.name for p in found] == list(files.paths)
    for i, prediction in enumerate(found):
        if i in (2, 7):
            assert prediction.classes == () and prediction.refused is not None
            assert (prediction.refused.path, prediction.refused.code) == (files.paths[i], "empty")
            continue
        powers = np.exp(scores(decode(Path(files.paths[i]))))
        expected = sorted(zip(powers / powers.sum(), classifier.classes, strict=True), reverse=True)[:2]
        assert prediction.refused is None
        assert [name for name, _ in prediction.classes] == [name for _, name in expected]
        assert [p for _, p in prediction.classes] == pytest.approx([p for p, _ in expected], rel=1e-5)
    assert sum(classifier.batches) == 6 and max(classifier.batches) <= batch


@pytest.mark.parametrize(("top", "shown"), [(1, 1), (3, 3), (1000, 3)])
def test_a_prediction_has_at_most_all_classes(files: Files, top: int, shown: int) -> None:
    assert {len(p.classes) for p in predict(ByBrightness(), files, top) if not p.refused} == {shown}


def test_a_classifier_is_not_called_without_images(files: Files) -> None:
    classifier = ByBrightness()
    (only,) = predict(classifier, Files((files.paths[2],)))
    assert only.refused is not None and classifier.batches == []


def test_images_may_be_of_any_kind() -> None:
    levels, file = picture(3), io.BytesIO()
    Pillow.fromarray(levels).save(file, "PNG")
    kinds: list[Any] = [levels, file.getvalue(), Pillow.fromarray(levels), Pillow.open(io.BytesIO(file.getvalue()))]
    found = list(predict(ByBrightness(), [(f"{i}", image) for i, image in enumerate(kinds)], workers=2))
    assert [p.name for p in found] == ["0", "1", "2", "3"]
    assert len({p.classes for p in found}) == 1 and found[0].classes


BAD: list[tuple[Any, str, str]] = [
    (np.zeros((0, 5, 3), np.uint8), "no-image", "the array is 0 x 5 x 3 of uint8; it must be uint8, height x width"),
    (np.zeros((5, 5), np.uint8), "no-image", "the array is 5 x 5 of uint8"),
    (np.zeros((5, 5, 4), np.uint8), "no-image", "the array is 5 x 5 x 4 of uint8"),
    (np.zeros((5, 5, 3)), "no-image", "the array is 5 x 5 x 3 of float64"),
    (Path("x.jpg"), "missing", "does not exist"),
    (b"", "empty", "0 bytes"),
    (b"GIF89a", "truncated", "is truncated in its header"),
    (Pillow.new("RGB", (0, 5)), "damaged", "0 x 5"),
    (None, "no-image", "this is None; give a path, the bytes"),
    ([1, 2], "no-image", "this is of type list"),
    (np.zeros((2, 3, 3), np.uint8), "unfit", "too small"),
]


@pytest.mark.parametrize(("image", "code", "detail"), BAD)
def test_a_bad_image_does_not_stop_the_others(
    image: Any, code: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Choosy(ByBrightness):
        def classify(self, images: Sequence[Image]) -> torch.Tensor:
            if any(image.shape[0] == 2 for image in images):
                raise UserError("an image is too small")
            return super().classify(images)

    good = picture(1)
    first, bad, last = predict(Choosy(), [("a", good), ("b", image), ("c", good)])
    assert bad.refused is not None and (bad.name, bad.refused.path, bad.refused.code) == ("b", "b", code)
    assert detail in bad.refused.detail
    assert first.classes == last.classes != ()


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_drawn_when_needed(workers: int) -> None:
    taken = 0

    def endless() -> Iterator[tuple[str, Any]]:
        nonlocal taken
        while True:
            taken += 1
            yield str(taken), picture(taken)

    found = predict(ByBrightness(), endless(), batch=4, workers=workers)
    assert [next(found).name for _ in range(6)] == ["1", "2", "3", "4", "5", "6"]
    assert taken <= 8 + 4 * workers + 1


def test_large_images_are_split_into_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_BATCH_BYTES", 2 * picture(0).nbytes)
    classifier = ByBrightness()
    assert len(list(predict(classifier, [("a", picture(i)) for i in range(5)], batch=32))) == 5
    assert classifier.batches == [2, 2, 1]


def test_scores_that_are_not_finite_are_an_error() -> None:
    class Diverged(ByBrightness):
        def classify(self, images: Sequence[Image]) -> torch.Tensor:
            return torch.full((len(images), 3), torch.nan)

    with pytest.raises(UserError, match="scores are not finite"):
        list(predict(Diverged(), [("a", picture(0))]))


@pytest.mark.parametrize("value", [-1, 0, 1.5, "1", True, None])
def test_a_number_must_be_whole_and_large_enough(value: Any) -> None:
    with pytest.raises(UserError, match=r"top is .*; it must be wanted"):
        check_number("top", value, 1, "wanted")
    check_number("top", np.int64(1), 1, "wanted")


@pytest.mark.parametrize("choice", [{"top": -1}, {"batch": 0}, {"workers": -1}])
def test_numbers_are_checked_before_the_first_image(choice: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(choice))} is .*; it must be a whole number of"):
        predict(ByBrightness(), [], **choice)  # type: ignore[arg-type]


def test_a_prediction_prints_its_classes() -> None:
    good = Prediction("a<b.png", (("cat & dog", 0.75), ("hen", 0.25)))
    assert repr(good) == "Prediction('a<b.png': cat & dog 75.00%, hen 25.00%)"
    shown = good._repr_html_()
    assert "<caption>a&lt;b.png</caption><tr><td>cat &amp; dog</td><td>75.00%</td></tr>" in shown
    (bad,) = predict(ByBrightness(), [("c", b"")])
    none = Prediction("d", ())
    assert repr(none) == "Prediction('d': no class)" and "<td>no class</td>" in none._repr_html_()
    assert repr(bad) == "Prediction('c', refused: the file has 0 bytes (empty))"
    assert bad._repr_html_() == "<p>c: refused: the file has 0 bytes</p>"
