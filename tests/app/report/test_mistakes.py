"""`--mistakes`: every misclassified image, with both probabilities and the true class's rank, as a table or a page."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imclass.app.cli.main import main
from imclass.app.report.mistakes import as_csv, as_page, wrong_images
from imclass.core.targets import OneOf
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.papers import table
from imclass.evaluation.results import Facts, ResultRow
from tests.app.report.reader import pixels_of, read
from tests.support.payloads import PAYLOADS
from tests.support.pictures import CLASSES, pictures
from tests.support.small import picture, save_untrained, tree

HEAD = ["image", "true", "predicted", "probability", "probability_of_true", "rank_of_true"]


def random_row(n: int = 40, names: tuple[str, ...] = CLASSES) -> ResultRow:
    """Return a row of random scores of `pictures(n)`."""
    data = pictures(n)
    scores = np.random.default_rng(1).normal(size=(n, len(names))).astype(np.float32)
    evaluation = evaluation_of(names, OneOf(data.labels), scores, data.ids, n)
    facts = Facts(("m",), table.RowSubject((), "", "m"), "split test of d", "d", "test")
    return ResultRow("m", evaluation, tuple(data.name(i) for i in range(n)), facts)


def by_hand(row: ResultRow) -> list[list[Any]]:
    """Compute the table an image at a time."""
    lines: list[list[Any]] = []
    for image, scores, label in zip(row.images, row.evaluation.scores, row.evaluation.targets.numpy(), strict=True):
        chances = np.exp(scores.astype(np.float64)) / np.exp(scores.astype(np.float64)).sum()
        order = np.argsort(-scores).tolist()
        if order[0] != label:
            names = row.evaluation.classes
            place = order.index(label) + 1
            lines.append([image, names[label], names[order[0]], chances[order[0]], chances[label], place])
    return sorted(lines, key=lambda line: -line[3])


def test_every_mistake_is_listed_the_most_confident_first() -> None:
    row = random_row()
    head, *lines = csv.reader(as_csv(wrong_images(row.evaluation, row.images)).splitlines())
    expected = by_hand(row)
    assert head == HEAD and len(lines) == len(expected) > 20
    for line, wanted in zip(lines, expected, strict=True):
        assert line[:3] == wanted[:3] and int(line[5]) == wanted[5] >= 2
        assert [float(line[3]), float(line[4])] == pytest.approx(wanted[3:5], abs=1e-6)


def test_no_name_becomes_a_formula_or_markup() -> None:
    for payload in PAYLOADS:
        row = random_row(1, (payload, *CLASSES[1:]))
        wrong = evaluation_of(
            row.evaluation.classes, OneOf(np.array([1])), np.eye(1, 7, dtype=np.float32), np.array([100]), 1
        )
        row = ResultRow(payload, wrong, (payload,), row.facts)
        found = wrong_images(row.evaluation, row.images)
        (line,) = list(csv.reader(as_csv(found).splitlines(keepends=True)))[1:]
        assert not line[0].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert line[0] in (payload, f"'{payload}")
        page = read(as_page(row, found, None))
        assert not page.all("script") and not page.all("img")


def test_a_page_shows_each_image() -> None:
    row, data = random_row(), pictures(40)
    data = pictures(
        40,
        bad=frozenset([int(np.flatnonzero(row.evaluation.ids == wrong_images(row.evaluation, row.images)[0].id)[0])]),
    )
    found = wrong_images(row.evaluation, row.images)
    page = read(as_page(row, found, data, workers=2))
    figures = page.all("figure")
    assert len(figures) == len(found) and "the file ends too early" in figures[0].text and not figures[0].all("img")
    for figure, wrong in zip(figures[1:], found[1:], strict=True):
        image = data[data.ids.tolist().index(wrong.id)]
        assert np.array_equal(pixels_of(figure.one("img")), image)  # small images are not changed
        shown = figure.text
        assert f"predicted {wrong.predicted}" in shown and f"true {wrong.true}" in shown and wrong.image[-8:] in shown
    assert f"{len(found)} of 40 images" in page.text and "split test of d" in page.text
    assert page.one("meta", name="generator").attributes["content"] == "imclass"


def test_a_large_image_is_a_small_picture() -> None:
    row, data = random_row(1), pictures(1, (900, 300))
    scores = np.eye(7, dtype=np.float32)[data.labels]
    row = ResultRow(
        "m", evaluation_of(CLASSES, OneOf((data.labels + 1) % 7), scores, data.ids, 1), row.images, row.facts
    )
    page = as_page(row, wrong_images(row.evaluation, row.images), data)
    assert pixels_of(read(page).one("img")).shape == (160, 53, 3)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets", per_class=6)
    Image.fromarray(picture(1, side=300)).save("pets/cat/=large.png")
    save_untrained(tmp_path / "model.safetensors")
    return tmp_path


class TestCommandLine:
    def test_both_kinds_of_file(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["evaluate", "model.safetensors", "--data", "pets", "--json"]
        assert main([*words, "--mistakes", "m.csv", "--save-scores", "s.npz"]) == 0
        record = json.loads(capsys.readouterr().out)
        wrong = sum(map(sum, record["confusion"])) - sum(record["confusion"][k][k] for k in range(2))
        with open("m.csv", newline="") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == wrong > 0 and {line["rank_of_true"] for line in lines} == {"2"}
        assert main([*words, "--mistakes", "m.html"]) == 0
        page = read(Path("m.html").read_text())
        assert len(page.all("figure")) == len(page.all("img")) == wrong
        assert main(["evaluate", "s.npz", "--mistakes", "again.csv"]) == 0
        assert Path("again.csv").read_text() == Path("m.csv").read_text()
        assert main(["evaluate", "s.npz", "--mistakes", "again.html"]) == 0
        page = read(Path("again.html").read_text())
        assert len(page.all("figure")) == wrong and not page.all("img") and "Images are not shown" in page.text
        for name in ("m.csv", "m.html"):  # our files may be replaced
            assert main([*words, "--mistakes", name]) == 0

    def test_an_impossible_file_is_refused_before_anything_is_scored(
        self, place: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (place / "notes.csv").write_text("mine")
        for name, why in (
            ("m.txt", "ends in .csv or .html"),
            ("notes.csv", "already exists"),
            ("no/m.csv", "the folder no does not exist"),
        ):
            assert main(["evaluate", "model.safetensors", "--data", "pets", "--mistakes", name]) == 2
            assert why in capsys.readouterr().err
        assert (place / "notes.csv").read_text() == "mine"
