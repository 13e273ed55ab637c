"""Reports: one page with the numbers of `evaluate` that loads nothing else and never runs a name of a user's."""

import csv
import io
import json
import math
import os
import shutil
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor
from torch import nn

import imclass
from imclass.app.cli.main import main
from imclass.app.draw.canvas import HIT_COLOUR, MISTAKE_COLOUR
from imclass.app.draw.curves import SPLIT_COLOURS, panels
from imclass.app.draw.grid import map_grid
from imclass.app.report import facts as report_facts
from imclass.app.report import figures as report_figures
from imclass.app.report import markup
from imclass.app.report import page as report_page
from imclass.app.report.markup import Html, element, escape_html, image_element
from imclass.app.report.write import write_report
from imclass.app.runs.directory import Run
from imclass.app.runs.watchers.pictures import network_view
from imclass.app.verbs.predict import as_csv
from imclass.core.contracts import Refused
from imclass.core.errors import UserError
from imclass.core.model_file import DataFacts, Provenance, read_model
from imclass.core.targets import OneOf
from imclass.core.text import printable_text
from imclass.data import catalog
from imclass.data.images import decode as decoding
from imclass.data.images.decode import decode
from imclass.evaluation import score
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.measures.mistakes import WrongImage
from imclass.models.classifier import NetworkClassifier, load_network_classifier
from imclass.models.network import Network
from imclass.serving.predict import Prediction
from imclass.store.context import open_context
from tests.app.report.reader import Node, pixels_of, read
from tests.support.payloads import PAYLOADS, as_file, as_folder
from tests.support.small import SQUASH, fingerprint, save_untrained, tree
from tests.support.small import picture as noise

DRAWN = frozenset(("svg", "line", "text", "polyline", "circle", "img", "figure", "figcaption"))
SPOKEN = frozenset(("h1", "h2", "h3", "p", "a", "strong", "span", "b", "i", "bdi", "code", "mark"))
BLOCKS = frozenset(("main", "header", "section", "nav", "footer", "div", "ul", "ol", "li", "dl", "dt", "dd"))
TABLES = frozenset(("table", "thead", "tbody", "tr", "th", "td"))
TAGS = DRAWN | SPOKEN | BLOCKS | TABLES | {"html", "head", "meta", "title", "style", "body"}
PLACES = frozenset(("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "dy", "points", "viewbox", "width", "height"))
META = frozenset(("lang", "charset", "http-equiv", "content", "name"))
ATTRIBUTES = (
    PLACES | META | {"id", "class", "style", "scope", "title", "tabindex", "src", "href", "alt", "role", "aria-label"}
)
SECTIONS = ["curves", "confusion", "classes", "mistakes", "inside", "data", "time", "configuration", "environment"]
EVALUATED = {"confusion", "classes", "mistakes"}  # sections that need scores
OF_A_RUN = {"curves", "time", "configuration"}


def dangers(page: Node) -> list[str]:
    """Return everything that could run or be fetched: unknown elements and attributes, handlers, addresses, styles."""
    found = [f"<{node.tag}>" for node in page.all() if node.tag not in TAGS]
    for node in page.all():
        for key, value in node.attributes.items():
            value = value or ""
            away = key in ("src", "href") and not value.startswith(
                ("data:image/png;base64,", "data:image/jpeg;base64,", "#")
            )
            styled = key == "style" and not all(c.isalnum() or c in "-:%" for c in value)
            refreshed = node.tag == "meta" and value == "refresh"
            if key not in ATTRIBUTES or away or styled or refreshed:
                found.append(f"<{node.tag} {key}={value[:60]!r}>")
    sheets = "".join(node.text for node in page.all("style")).lower()
    return found + [word for word in ("url(", "@import", "expression(", "<") if word in sheets]


def run_of(*words: str, code: int = 0) -> Path:
    """Train a run in ./run."""
    assert main(["train", "mnist-lenet", "--out", "run", *words]) == code
    return Path("run")


def read_report(run: Path, *words: str) -> Node:
    assert main(["report", str(run), *words]) == 0
    return read((run / "report.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run on images of three classes."""
    folder = tmp_path_factory.mktemp("home")
    tree(folder / "pets", per_class=20, classes=("cat", "dog", "hen"))
    (folder / "pets" / "dog" / "torn.png").write_bytes((folder / "pets" / "dog" / "000.png").read_bytes()[:90])
    (folder / "pets" / "notes.txt").write_text("not an image")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_of("--data", "./pets", "--epochs", "2", "--batch", "8", code=1)
    return folder


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the run, next to its data."""
    shutil.copytree(home, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return Path("run")


@pytest.fixture
def alone(run: Path) -> Path:
    """Return a copy of the run without its data."""
    shutil.rmtree("pets")
    return run


@pytest.fixture
def evaluation(home: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the record of `evaluate` where the run was trained; elsewhere all of a folder counts as unseen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        main(["evaluate", "run", "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def material(run: Path) -> report_facts.ReportData:
    return report_facts.gather_run(Run(run), open_context())


# One page


def test_the_page_has_every_section_and_a_link_to_each(run: Path) -> None:
    page = read_report(run)
    assert [section.attributes["id"] for section in page.all("section")] == SECTIONS
    assert [a.attributes["href"] for a in page.one("nav").all("a")] == [f"#{id_}" for id_ in SECTIONS]
    assert page.one("h1").text == "lenet-5 on pets"
    assert dangers(page) == []


def test_the_policy_forbids_all_but_what_the_page_holds(run: Path) -> None:
    read_report(run)
    text = (run / "report.html").read_text("utf-8")
    head = read(text).one("head").inside
    first, second = (node.attributes for node in head[:2] if isinstance(node, Node))
    assert text.startswith("<!DOCTYPE html>") and first == {"charset": "utf-8"}
    assert second["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_page_goes_where_it_is_asked_to(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "run", "--out", "page.html"]) == 0 == main(["report", "run", "--json"])
    assert main(["report", "run", "--out", "page.html"]) == 0  # our page may be replaced
    first, *record, _ = capsys.readouterr().out.splitlines()
    assert first == "page.html" and json.loads("\n".join(record)) == {"report": "run/report.html"}
    assert write_report(Run(run), Path("third.html"), open_context()) == Path("third.html")
    assert Path("page.html").read_bytes() == Path("run/report.html").read_bytes() == Path("third.html").read_bytes()


def test_nothing_else_is_written(run: Path) -> None:
    (run / "report.html").unlink()  # which training wrote
    before, data = sorted(run.rglob("*")), fingerprint(Path("pets"))
    read_report(run)
    assert sorted(set(run.rglob("*")) - set(before)) == [run / "report.html"]
    assert fingerprint(Path("pets")) == data


def test_the_style_sheet_is_part_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert "report.css" in project["tool"]["setuptools"]["package-data"]["imclass.app.report"]


def test_the_page_does_not_reveal_where_it_was_made(home: Path, run: Path) -> None:
    assert read_report(run).one("section", id="data").text.count("dog/torn.png") == 1
    text = (run / "report.html").read_text("utf-8")
    assert not any(str(folder) in text for folder in (home, Path.cwd(), Path.home()))
    assert str(home) in (run / "config.json").read_text()  # it is known


# The same numbers


def test_the_headline_has_the_numbers_of_evaluate(run: Path, evaluation: dict[str, Any]) -> None:
    header = read_report(run).one("header")
    assert header.one("strong").text == f"{100 * evaluation['top1']:.2f}%"
    counted = f"{evaluation['evaluated']} of {evaluation['total']} evaluated"
    refused = f", {evaluation['refused']} refused" if evaluation["refused"] else ""
    values = {term.text: value.text for term, value in zip(header.all("dt"), header.all("dd"), strict=True)}
    assert values["Images"] == counted + refused
    assert values["Loss (cross-entropy)"] == f"{evaluation['loss']:.4f}; 0 is perfect"
    assert values["Weights"] == "last step"
    n, p, z2 = evaluation["evaluated"], evaluation["top1"], 1.96**2  # Wilson 1927, written out
    ends = [(p + z2 / 2 / n + s * 1.96 * math.sqrt(p * (1 - p) / n + z2 / 4 / n**2)) / (1 + z2 / n) for s in (-1, 1)]
    assert f"95% confidence interval {100 * ends[0]:.2f}% to {100 * ends[1]:.2f}%" in header.text


def test_the_matrix_and_the_classes_have_the_numbers_of_evaluate(run: Path, evaluation: dict[str, Any]) -> None:
    page = read_report(run)
    rows = page.one("table", **{"class": "matrix"}).one("tbody").all("tr")
    assert [[int(td.text or 0) for td in row.all("td")] for row in rows] == evaluation["confusion"]
    table = page.one("section", id="classes").one("tbody").all("tr")
    for row, known in zip(table, evaluation["per_class"], strict=True):
        cells = [td.text for td in row.all("td")]
        trained = len(list(Path("pets", known["class"]).glob("*.png"))) - known["support"]
        assert row.one("th").text == known["class"]
        assert int(cells[1]) == known["support"] and trained - int(cells[0]) in (0, 1)  # the torn one may be held out
        shares = [known[key] for key in ("precision", "recall", "f1")]
        assert cells[2:] == ["-" if share is None else f"{100 * share:.2f}%" for share in shares]


def test_confused_pairs_come_in_order() -> None:
    counts = np.array([[5, 2, 0], [7, 1, 0], [0, 3, 9]])
    rows = read(report_page.confused_pairs_table(counts, ["a", "b", "c"])).all("tr")[1:]
    assert [[cell.text for cell in row.all() if cell.tag in ("th", "td")] for row in rows] == [
        ["b → a", "7", "8", "87.50%"], ["c → b", "3", "12", "25.00%"], ["a → b", "2", "7", "28.57%"],
    ]  # fmt: skip
    assert "No image" in report_page.confused_pairs_table(np.diag([3, 3]), ["a", "b"])


def test_time_is_that_of_the_log(run: Path) -> None:
    steps = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = [step for step in steps if step["event"] == "step_end"]
    rows = read_report(run).one("section", id="time").one("tbody").all("tr")
    assert len(rows) == 2
    for epoch, row in enumerate(rows):
        entries = [step for step in steps if step["epoch"] == epoch]
        seconds, images = sum(s["seconds"] for s in entries), sum(s["images"] for s in entries)
        assert [td.text for td in row.all("td")][:2] == [f"{seconds:,.1f}", f"{images / seconds:,.0f}"]


def test_curves_end_where_the_log_does(run: Path) -> None:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    train = [r for r in records if r["event"] == "epoch_end"][-1]
    test = [r for r in records if r["event"] == "evaluated"][-1]
    loss, error = (f.one("figcaption").text for f in read_report(run).one("section", id="curves").all("figure"))
    assert loss == f"Last epoch: train {train['main']:.4f} test {test['loss']:.4f}"
    assert error == f"Last epoch: train {100 - 100 * train['top1']:.2f}% test {100 - 100 * test['top1']:.2f}%"


# What the network sees


def test_the_gallery_shows_the_most_confident_mistakes_as_the_network_saw_them(run: Path) -> None:
    found = material(run)
    classifier, page = load_network_classifier(run), read_report(run)
    assert found.result is not None
    expected = []
    for scores, label in zip(found.result.scores.astype(float), found.result.targets.numpy(), strict=True):
        raised = [math.exp(score - max(scores)) for score in scores]
        if (best := int(np.argmax(scores))) != label:
            expected.append((max(raised) / sum(raised), classifier.classes[label], classifier.classes[best]))
    expected.sort(key=lambda known: -known[0])
    figures = page.one("section", id="mistakes").all("figure")
    assert len(figures) == min(24, len(expected)) > 0
    for figure, (probability, true, predicted) in zip(figures, expected, strict=False):
        texts = [p.text for p in figure.all("p")]
        assert texts[0] == f"predicted {predicted} ({100 * probability:.1f}%)" and texts[1].startswith(f"true {true} ")
        assert Path(texts[2]).parts[0] == true
        seen = classifier.preprocess(decode(Path("pets", texts[2])))
        assert (pixels_of(figure.one("img")) == seen[:, :, 0]).all()
        assert figure.one("img").attributes["class"] == "crisp"


def test_filters_and_maps_are_those_of_the_first_convolution(run: Path) -> None:
    weights = read_model(run / "model.safetensors")[0]["features.0.weight"].numpy()
    filters, image, maps = read_report(run).one("section", id="inside").all("img")
    assert (pixels_of(filters) == map_grid(weights[:, 0])[:12]).all()  # 3 x 2 tiles of 5 x 5, and no empty row
    found = material(run).inside
    assert found is not None and found.image is not None
    assert (pixels_of(image) == found.image[:, :, 0]).all()
    view = (found.image[:, :, 0] / 255 - 0.1307) / 0.3081
    bias = read_model(run / "model.safetensors")[0]["features.0.bias"].numpy()
    by_hand = np.array(
        [
            [[(view[y : y + 5, x : x + 5] * w[0]).sum() + b for x in range(24)] for y in range(24)]
            for w, b in zip(weights, bias, strict=True)
        ]
    )
    assert np.abs(pixels_of(maps).astype(int) - map_grid(by_hand)[:50]).max() <= 1


def test_colours_are_shown_as_rgb_for_any_channel_order() -> None:
    weights = np.zeros((1, 3, 1, 1), np.float32)
    weights[0, 0] = 1  # the first channel
    shown = {channels: report_facts.filter_grid(weights, channels) for channels in ("rgb", "bgr")}
    assert shown["rgb"] is not None and shown["bgr"] is not None
    assert shown["rgb"][0, 0].tolist() == [255, 0, 0] and shown["bgr"][0, 0].tolist() == [0, 0, 255]
    assert report_facts.filter_grid(np.zeros((1, 4, 3, 3), np.float32), "rgb") is None


class Flat(Network):
    """A network with one linear layer and no convolution."""

    def __init__(self) -> None:
        super().__init__(28, 1)
        self.features = nn.Sequential()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))


def test_a_network_without_a_convolution_has_no_such_section(run: Path) -> None:
    flat = NetworkClassifier("flat", {}, Flat(), ("cat", "dog"), SQUASH)
    assert report_facts.view_first_layer(flat) is None
    assert report_page.first_layer_section(replace(material(run), inside=None)) == ""


# Missing parts


def test_a_run_without_its_data_has_the_same_page(run: Path) -> None:
    before = (run / "report.html").read_bytes()  # which training wrote
    shutil.rmtree("pets")
    read_report(run)
    assert (run / "report.html").read_bytes() == before


def test_a_report_opens_no_data_and_scores_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the folder is enough")

    for module, name in ((catalog, "open_split"), (score, "evaluate_each"), (decoding, "decode")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(NetworkClassifier, "classify", refuse)
    read_report(run)
    with pytest.raises(AssertionError):  # an evaluation would fail
        imclass.evaluate(run)


def test_a_moved_run_has_the_same_page_but_for_its_name(alone: Path) -> None:
    first = read_report(alone)
    alone.rename("elsewhere")
    second = read_report(Path("elsewhere"))
    assert second.text == first.text.replace("Run run,", "Run elsewhere,")


def test_missing_or_damaged_scores_are_noted(run: Path, evaluation: dict[str, Any]) -> None:
    for damage in (b"PK", None):
        path = run / "scores" / "test.npz"
        path.write_bytes(damage) if damage else path.unlink()
        page = read_report(run)
        assert {s.attributes["id"] for s in page.all("section")} == set(SECTIONS) - EVALUATED
        assert "scores/test.npz is missing or damaged" in page.one("header").text
        assert page.one("header").one("strong").text == f"{100 * evaluation['top1']:.2f}%"
        assert dangers(page) == []


def test_without_pictures_mistakes_are_named(run: Path) -> None:
    shutil.rmtree(run / "pictures")
    page = read_report(run)
    figures = page.one("section", id="mistakes").all("figure")
    assert figures and not any(figure.all("img") for figure in figures)
    assert [img.attributes["alt"] for img in page.one("section", id="inside").all("img")] == [
        "filters of the first convolution"
    ]


def test_a_damaged_picture_is_left_out(run: Path) -> None:
    (run / "pictures" / "01.png").write_bytes(b"no picture")
    page = read_report(run)
    assert [len(figure.all("img")) for figure in page.one("section", id="mistakes").all("figure")].count(0) >= 1
    assert dangers(page) == []


# Any model


def test_any_model_is_evaluated_into_a_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(run / "model.safetensors", "lone.safetensors")
    assert main(["evaluate", "lone.safetensors", "--data", "pets", "--split", "all", "--json"]) in (0, 1)
    known = json.loads(capsys.readouterr().out)
    words = ["lone.safetensors", "--data", "pets", "--split", "all"]
    assert main(["report", *words]) == 0
    folder = Path("reports/lone.safetensors")
    assert capsys.readouterr().out == f"{folder}/report.html\n"
    assert sorted(path.name for path in folder.iterdir()) == ["pictures", "report.html", "scores"]
    page = read((folder / "report.html").read_text("utf-8"))
    assert [s.attributes["id"] for s in page.all("section")] == [s for s in SECTIONS if s not in OF_A_RUN]
    assert page.one("header").one("strong").text == f"{100 * known['top1']:.2f}%"
    assert f"of {known['evaluated']} images are classified correctly;" in page.one("header").text
    assert "Model lone.safetensors" in page.one("header").text and "Scored: split all of pets" in page.text
    assert page.one("section", id="mistakes").all("img") and len(page.one("section", id="inside").all("img")) == 3
    assert dangers(page) == []
    assert main(["report", *words]) == 0  # its folder may be written again
    assert main(["evaluate", str(folder / "scores/all.npz"), "--json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["top1"] == known["top1"]


def test_a_run_on_other_data_is_evaluated_too(run: Path) -> None:
    tree(Path("more"), classes=("cat", "dog", "hen"), per_class=3, side=14)
    assert imclass.report(run, "more", "out") == Path("out/report.html")
    page = read(Path("out/report.html").read_text("utf-8"))
    assert "Scored: all images of more, protocol as trained." in page.one("header").text
    assert "9 of 9 evaluated" in page.one("header").text
    assert page.one("h1").text == "lenet-5 on more"


def test_an_ensemble_has_a_report_without_a_first_layer(run: Path) -> None:
    shutil.copy(run / "model.safetensors", "other.safetensors")
    imclass.evaluate(["run", "other.safetensors"], "pets", split="test").save_model("both.safetensors")
    page = read(imclass.report("both.safetensors", "pets", "both").read_text("utf-8"))
    assert [s.attributes["id"] for s in page.all("section")] == [
        s for s in SECTIONS if s not in {*OF_A_RUN, "inside"}
    ]  # fmt: skip
    assert page.one("section", id="mistakes").all("img")


def test_a_report_takes_a_part_of_the_classes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("pets/hen")
    assert main(["report", "run/model.safetensors", "--data", "pets", "--out", "part"]) == 2
    assert "--classes FILE" in capsys.readouterr().err
    Path("part.json").write_text("{}")
    assert main(["report", "run/model.safetensors", "--data", "pets", "--out", "part", "--classes", "part.json"]) == 0
    rows = read(Path("part/report.html").read_text("utf-8")).one("section", id="classes").one("tbody").all("tr")
    assert {row.all("th")[0].text if row.all("th") else row.all("td")[0].text for row in rows} == {"cat", "dog", "hen"}


def test_a_report_is_not_written_among_other_files(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = "contains other files"
    for out, message in (("pets", other), ("run", other), ("pets/notes.txt", "is a file")):
        assert main(["report", "run", "--data", "pets", "--out", out]) == 2
        assert message in capsys.readouterr().err


def test_saved_scores_have_no_report(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "run/scores/test.npz"]) == 2
    assert "run/scores/test.npz contains scores, not a model; pass the model itself" in capsys.readouterr().err


def test_several_processes_write_no_report(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["report", "run", "--data", "pets"]) == 2
    assert "a report must be written by a single process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parts", "epochs", "text"),
    [
        (
            ("train", "validation"),
            2,
            "validation folder. The model was not trained on them. The weights were chosen on these images",
        ),
        (("train", "validation"), 1, "validation folder. The model was not trained on them. They were not used"),
        (("train", "validation", "test"), 2, "test folder. The model was not trained on them. They were not used"),
        (("train",), 2, "The data has no held-out images"),
    ],
)  # fmt: skip
def test_the_header_describes_the_held_out_images(
    parts: tuple[str, ...], epochs: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check as well that nothing was chosen if there was only one epoch to choose from."""
    monkeypatch.chdir(tmp_path)
    for i, part in enumerate(parts):
        tree(Path("pets", part), per_class=4, side=12 + i)  # no image is in two parts
    page = read_report(run_of("--data", "pets", "--epochs", str(epochs), "--batch", "4"))
    assert text in page.one("header").text
    assert ("best on validation" in page.one("header").text) == ("validation" in parts and epochs > 1)


def test_test_images_that_are_in_train_too_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree(Path("pets/train"), per_class=4)
    tree(Path("pets/test"), per_class=3, side=14)
    shutil.copy("pets/train/cat/000.png", "pets/test/cat/same.png")
    page = read_report(run_of("--data", "pets", "--epochs", "1", "--batch", "4"))
    assert "One of them is also a training image, so the model was trained on it." in page.one("header").text
    assert "7 of 7 evaluated, the model was trained on 1 of them" in page.one("header").text


def test_a_hashed_split_is_described_with_its_seed(run: Path) -> None:
    text = read_report(run).one("header").text
    assert "a hash of the file names and excluded from training (hash 80/20, seed 0)" in text
    assert "They were not used to choose the weights" in text


def test_what_differs_from_the_recipe_is_marked(run: Path) -> None:
    table = read_report(run).one("section", id="configuration")
    marked = {row.one("th").text: [td.text for td in row.all("td")] for row in table.all("tr") if row.all("mark")}
    assert marked == {"epochs": ["2", "30"], "batch": ["8", "64"], "data": ["pets", "mnist-sample"]}
    assert "3 of" in table.one("p").text


def test_an_unknown_recipe_marks_nothing(run: Path) -> None:
    record = json.loads((run / "config.json").read_text())
    record["training"]["recipe"] = "mine"
    (run / "config.json").write_text(json.dumps(record))
    table = read_report(run).one("section", id="configuration")
    assert not table.all("mark") and "not installed" in table.text


def test_a_run_that_is_not_finished_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "model.safetensors").unlink()
    (run / "report.html").unlink()
    assert main(["report", "run"]) == 2
    assert "the run in run is not finished" in capsys.readouterr().err
    assert not (run / "report.html").exists()
    with pytest.raises(UserError, match=r"rum does not contain a run; did you mean 'run'\?"):
        write_report(Run(Path("rum")), Path("page.html"), open_context())
    with pytest.raises(UserError, match="run/tensorboard does not contain a run; choose the folder of a finished run"):
        write_report(Run(Path("run/tensorboard")), Path("page.html"), open_context())


def test_an_impossible_path_is_refused_before_any_work(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.html").write_text("something of the user's")
    for out, message in (
        ("no/where.html", "the folder no does not exist"), ("pets", "pets is a folder"),
        ("run/config.json", "use config.html"),
        ("mine.html", "mine.html already exists"),
    ):  # fmt: skip
        assert main(["report", "run", "--out", out]) == 2
        assert message in capsys.readouterr().err


# Many classes, long curves


def many(found: report_facts.ReportData, k: int) -> report_facts.ReportData:
    """Return the same run as if it had `k` classes of ten images each, with the last class never predicted."""
    names = tuple(f"{'猫' * (i % 30)} قطة {i}" for i in range(k))
    labels = np.repeat(np.arange(k), 10)
    scores = np.random.default_rng(0).normal(size=(10 * k, k)).astype(np.float32)
    scores[np.arange(10 * k), labels] += 4
    scores[-10:, -1] = -9
    result = evaluation_of(names, OneOf(labels), scores, labels, 10 * k)
    return replace(found, result=result, counts={}, classes=names)


@pytest.mark.parametrize("k", [16, 64, 65, 1000])
def test_many_classes_are_a_picture_and_a_table_with_the_worst_first(k: int, run: Path) -> None:
    page = read(report_page.page(many(material(run), k)))
    image = page.one("img", **{"class": "matrix crisp" if k <= 64 else "matrix"})
    side = math.ceil(k / math.ceil(k / 250))
    assert pixels_of(image).shape == (side, side, 4)
    blue = pixels_of(image)[np.arange(side - 1), np.arange(side - 1)]
    assert (blue[:, :3] == ImageColor.getrgb(HIT_COLOUR)).all() and (blue[:, 3] > 100).all()
    rows = page.one("section", id="confusion").one("ol", **{"class": "rows"}).all("li")
    assert len(rows) == k if k <= 64 else [row.text for row in rows] == (
        ["1", "20", "40", "60"] if k == 65 else ["1", "200", "400", "600", "800", "1000"]
    )  # fmt: skip
    rows = page.one("section", id="classes").one("tbody").all("tr")
    assert len(rows) == k and rows[0].one("th").text.endswith(str(k - 1))
    assert dangers(page) == []


def test_pictures_of_any_size_stay_small() -> None:
    large = read(image_element(np.zeros((1500, 3000, 3), np.uint8), "large")).one("img")
    assert pixels_of(large).shape == (512, 1024, 3) and "crisp" not in str(large.attributes["class"])
    small = read(image_element(noise(0), "small")).one("img")
    assert (pixels_of(small) == noise(0)).all() and small.attributes["class"] == "crisp"


def test_curves_of_any_history() -> None:
    rows: list[dict[str, int | float]] = [{"epoch": e, "train_loss": 2.0 / e, "train_error": 0.5} for e in range(1, 6)]
    rows[2]["train_loss"] = math.nan
    broken, error = (read(report_figures.panel_figure(panel)) for panel in panels(rows))
    assert len(broken.all("polyline")) == 2 and len(broken.all("circle")) == 4
    assert error.one("figcaption").text == "Last epoch: train 50.00%"
    one = read(report_figures.panel_figure(panels(rows[:1])[0]))
    assert not one.all("polyline") and one.one("circle").attributes["cx"]
    lost = read(report_figures.panel_figure(panels([{"epoch": 1, "train_loss": math.inf, "train_error": 0.5}])[0]))
    assert not lost.all("circle") and lost.one("figcaption").text == "Last epoch: train inf"
    points = broken.all("polyline")[0].attributes["points"]
    ys = [float(str(point).split(",")[1]) for point in str(points).split()]
    assert ys == sorted(ys)  # a falling loss goes down the page


def test_a_light_page_has_the_colours_of_pictures(run: Path) -> None:
    light = read_report(run).one("style").text.partition("}")[0]
    colours = SPLIT_COLOURS | {"hit": HIT_COLOUR, "miss": MISTAKE_COLOUR}
    assert [f"--{name}: {colour};" in light for name, colour in colours.items()] == [True] * 5


# Names that are not only names


def payload_tree(folder: Path) -> Path:
    """Make a class for each payload, with three images, one of them named after the next payload, and one torn file."""
    for i, payload in enumerate(PAYLOADS):
        whole, torn = as_file(PAYLOADS[(i + 1) % 60]), as_file(PAYLOADS[(i + 2) % 60])
        for j, name in enumerate(("a.png", "b.png", whole)):
            path = folder / as_folder(payload) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise(100 * i + j)).save(path)
        path = folder / as_folder(payload) / "torn" / torn
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run on images whose classes and files are named after the payloads."""
    folder = tmp_path_factory.mktemp("hostile")
    payload_tree(folder / "names")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_of("--data", "names", "--epochs", "1", "--batch", "32", code=1)
        assert main(["report", "run"]) == 0
    return folder


def full_text(page: Node) -> str:
    """Return all text of a page, including what it shows on hovering."""
    return "\n".join([page.text, *(node.attributes.get("title") or "" for node in page.all())])


def test_no_class_or_file_name_becomes_markup(hostile: Path) -> None:
    page = read((hostile / "run" / "report.html").read_text("utf-8"))
    assert dangers(page) == []
    text = full_text(page)
    assert [p for p in PAYLOADS if printable_text(as_folder(p)) not in text] == []
    assert [p for p in PAYLOADS if f"/torn/{printable_text(as_file(p))}" not in text] == []
    assert not any(c for c in text if not c.isprintable() and c not in "\n\xa0")


def test_no_payload_becomes_markup_anywhere(run: Path) -> None:
    """Use payloads, slashes and NUL included, as every name on the page and as the reason of a problem."""
    found = many(material(run), 2)
    assert found.result is not None
    for payload in PAYLOADS:
        mistake = WrongImage(0, payload, payload, payload, 0.5, 0.25, 2)
        assert found.run is not None
        page = read(
            report_page.page(
                replace(
                    found,
                    name=payload,
                    network=payload,
                    data=payload,
                    scored=payload,
                    result=replace(found.result, classes=(payload, f"{payload} again")),
                    mistakes=[mistake],
                    pictures={payload: noise(0)},
                    inside=report_facts.FirstLayer(payload, noise(0), payload, noise(0), noise(0)[:, :, 0]),
                    refused=[Refused(payload, payload, payload)],
                    problem=payload,
                    run=replace(found.run, config=replace(found.run.config, recipe=payload, data=payload)),
                    versions={payload: payload},
                    trained=Provenance(
                        chosen=payload,
                        data=DataFacts(name=payload, rule=payload, licence=payload, digest=payload, notes=(payload,)),
                    ),
                )
            )
        )
        assert dangers(page) == []
        assert printable_text(payload) in full_text(page)


def test_without_escapes_most_payloads_would_get_through(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the same page with a program that trusts names."""
    monkeypatch.chdir(hostile)
    monkeypatch.setattr(markup, "escape_html", Html)
    found = report_page.page(material(Path("run")))
    with pytest.raises(AssertionError):
        assert dangers(read(found)) == []


def test_only_html_stays_unescaped() -> None:
    assert element("p", "<b>", element("i", "&"), class_='"') == '<p class="&quot;">&lt;b&gt;<i>&amp;</i></p>'
    assert element("img", alt=Html('"<')) == '<img alt="&quot;&lt;">'  # in quotes, not even markup is trusted
    assert escape_html("a\nb\x00\u202e") == "a\\nb\\x00\\u202e"


def test_evaluate_prints_every_name_unchanged_in_json(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [as_folder(p) for p in PAYLOADS]
    save_untrained(hostile / "raw.safetensors", PAYLOADS)
    (hostile / "map.json").write_text(json.dumps(dict(zip(names, PAYLOADS, strict=True))))
    words = ["--data", str(hostile / "names"), "--classes", str(hostile / "map.json"), "--json"]
    for model, more, classes in ((hostile / "run", [], names), (hostile / "raw.safetensors", words, PAYLOADS)):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(hostile)
            assert main(["evaluate", str(model), *(more or ["--json", "--trained", "include"])]) == 1
        out = capsys.readouterr().out
        assert {row["class"] for row in json.loads(out)["per_class"]} == set(classes)
        assert all(c.isprintable() or c == "\n" for c in out)


def test_predict_prints_every_name_in_json_and_csv(
    hostile: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_untrained(hostile / "raw.safetensors", PAYLOADS)
    monkeypatch.chdir(hostile)
    words = ["predict", "raw.safetensors", "names", "--top", "60", "--format"]
    paths = {os.path.join(folder, name) for folder, _, files in os.walk("names") for name in files}
    assert main([*words, "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {one["path"] for one in found} == paths
    assert all({c["class"] for c in one["classes"]} == set(PAYLOADS) for one in found if "classes" in one)
    assert main([*words, "csv"]) == 1
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out, newline="")))[1:]
    assert {row[0] for row in rows} == paths - {one["path"] for one in found if "refused" in one}
    assert {strip_apostrophe(row[2]) for row in rows} == set(PAYLOADS)
    assert dangerous(cell for row in rows for cell in row) == []


RUN_BY_A_SPREADSHEET = ("=", "+", "-", "@", "\t", "\r")


def dangerous(cells: Iterable[str]) -> list[str]:
    return [cell for cell in cells if cell.startswith(RUN_BY_A_SPREADSHEET)]


def strip_apostrophe(cell: str) -> str:
    """Return a cell without the apostrophe that makes it text."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(RUN_BY_A_SPREADSHEET) else cell


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_row_of_a_table_holds_one_payload_and_no_formula(payload: str) -> None:
    (row,) = csv.reader(io.StringIO(as_csv(Prediction(payload, ((payload, 0.5),))), newline=""))
    assert [strip_apostrophe(row[0]), row[1], strip_apostrophe(row[2]), row[3]] == [payload, "1", payload, "0.5"]
    assert dangerous(row) == []


def test_some_payloads_are_formulas() -> None:
    """Show that a spreadsheet would run some of them if they were not escaped."""
    assert len(dangerous(PAYLOADS)) == 7 and len(PAYLOADS) == len(set(PAYLOADS)) == 60


def test_a_view_is_the_preprocessed_image(tmp_path: Path) -> None:
    """Check that a view of a BGR network is shown as RGB."""
    from imclass.data.catalog import open_split

    dataset = open_split(str(tree(tmp_path / "pets")), "train", open_context())
    model = load_with(tmp_path, channels="bgr", colour="rgb")
    assert (network_view(dataset[0], model.preprocess) == model.preprocess(dataset[0])[:, :, ::-1]).all()


def load_with(folder: Path, **changes: Any) -> Any:
    """Return a classifier with a changed preprocess; its network does not matter."""
    return replace(save_untrained(folder / "model.safetensors"), preprocess=replace(SQUASH, **changes))
