"""`imclass runs`: states, results and differences of runs, as a table, CSV, JSON and a page with their curves."""

import csv
import io
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import imclass
from imclass.app.cli.main import main
from imclass.app.runs import train as training_runs
from imclass.app.runs.directory import Run
from imclass.core.errors import UserError
from imclass.core.files import lock_file
from imclass.evaluation.folds import read_folds
from imclass.training.events import StepEnd
from tests.app.report.reader import Node, read
from tests.app.report.test_page import dangers
from tests.app.series.test_crossval import Nothing
from tests.support.command import json_output, text
from tests.support.small import fingerprint, provenance, tree

CHOICES: dict[str, Any] = {"data": "pets", "batch": 4, "epochs": 2, "pictures": False}

EMPTY = '{"format": %d, "training": {}, "execution": {}}'  # the config of a run, without its content


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with two runs that differ in their rate, a cross-validation, and a run of two stages."""
    folder = tmp_path_factory.mktemp("overview")
    tree(folder / "pets", per_class=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("Curves", "TensorBoard"):
            patch.setattr(training_runs, name, Nothing)
        for rate in (0.02, 0.1):
            begin(f"runs/rate-{rate}", **{"schedule.rate": rate})
        begin("runs/cv", crossval=2, epochs=1)
        config = imclass.configure("mnist-lenet", data="pets", batch=4, epochs=2)
        (stage,) = config.stages
        chain = replace(config, stages=(replace(stage, name="one"), replace(stage, name="two", epochs=1)))
        list(imclass.train(chain, "runs/chain", pictures=False))
        yield folder


def begin(out: str, **more: Any) -> None:
    """Train to the end."""
    crossval = more.pop("crossval", None)
    list(imclass.train("mnist-lenet", out, crossval=crossval, override={**CHOICES, **more}))


@pytest.fixture
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the runs in the current folder, without their data."""
    shutil.copytree(home / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Return the record of each run, fold and leg, by its path."""
    found = json_output(capsys, "runs", *words)["runs"]
    return {row["run"]: row for run in found for row in (run, *run["parts"])}


def test_each_run_has_its_state_progress_and_results(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = fingerprint(place)
    found = rows(capsys)
    assert list(found) == [
        "runs/chain", "runs/chain/legs/01-one", "runs/chain/legs/02-two",
        "runs/cv", "runs/cv/folds/1", "runs/cv/folds/2", "runs/rate-0.02", "runs/rate-0.1",
    ]  # fmt: skip
    kinds = ["run", "leg", "leg", "cross-validation", "fold", "fold", "run", "run"]
    assert [row["kind"] for row in found.values()] == kinds
    assert {row["state"] for row in found.values()} == {"finished"}
    progress = [(3, 3), (2, 2), (1, 1), (2, 2), (1, 1), (1, 1), (2, 2), (2, 2)]
    assert [(row["done"], row["total"]) for row in found.values()] == progress
    for path in ("runs/rate-0.1", "runs/chain", "runs/chain/legs/01-one"):
        assert found[path]["results"]["test"] == provenance(Path(path)).metrics["test"].measures
    steps = [entry for entry in Run(Path("runs/chain")).events() if entry["event"] == "step_end"]
    assert found["runs/chain"]["seconds"] == pytest.approx(sum(step["seconds"] for step in steps))
    legs = [found[f"runs/chain/legs/{leg}"]["seconds"] for leg in ("01-one", "02-two")]
    assert found["runs/chain"]["seconds"] == pytest.approx(sum(legs)) and min(legs) > 0
    assert fingerprint(place) == before


def test_a_cross_validation_has_the_mean_of_its_folds(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = read_folds(place / "cv" / "scores" / "out-of-fold.npz")
    found = rows(capsys, "runs/cv")
    measures = found["runs/cv"]["results"]["out-of-fold"]
    assert measures["top1"] == pytest.approx(result.scores.mean("top1"))
    assert measures["top1_deviation"] == pytest.approx(result.scores.deviation("top1"))
    assert found["runs/cv/folds/2"]["results"] == {
        "out-of-fold": provenance(place / "cv/folds/2").metrics["test"].measures
    }
    (place / "cv" / "model.safetensors").unlink()
    (place / "cv" / "folds" / "2" / "model.safetensors").unlink()
    found = rows(capsys, "runs/cv")
    assert [row["state"] for row in found.values()] == ["stopped", "finished", "stopped"]
    assert (found["runs/cv"]["done"], found["runs/cv"]["total"]) == (1, 2)
    assert found["runs/cv"]["results"] == found["runs/cv/folds/1"]["results"]


def test_a_run_in_training_differs_from_a_stopped_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    events = imclass.train("mnist-lenet", tmp_path / "run", **CHOICES)
    for event in events:
        if isinstance(event, StepEnd) and event.at.epoch == 1:
            break
    log = Run(tmp_path / "run").events()
    (last,) = [entry for entry in log if entry["event"] == "evaluated"]
    (row,) = rows(capsys, str(tmp_path)).values()
    assert (row["state"], row["done"], row["total"]) == ("training", 1, 2)
    assert row["results"]["test"]["top1"] == last["top1"] and row["results"]["test"]["loss"] == last["loss"]
    events.close()  # type: ignore[attr-defined]
    assert "stopped" in text(capsys, "runs", str(tmp_path))
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write(json.dumps(log[-1] | {"event": "non_finite", "what": "the loss", "action": "stop"}) + "\n")
    (row,) = rows(capsys, str(tmp_path)).values()
    assert row["state"] == "stopped" and row["problem"].startswith("training stopped at step")


def test_a_leg_that_is_not_begun(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model in (
        "chain/model.safetensors",
        "chain/legs/01-one/model.safetensors",
        "chain/legs/02-two/model.safetensors",
    ):
        (place / model).unlink()
    log = place / "chain" / "log.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(True) if '"stage": 0' in line))
    states = [row["state"] for row in rows(capsys, "runs/chain").values()]
    assert states == ["stopped", "stopped", "not begun"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("config.json", "{", "config.json is damaged: it is not JSON"),
        ("config.json", EMPTY % 1, "config.json has format 1, but this version of imclass reads format 2"),
        ("config.json", EMPTY % 2, "its files cannot be read (KeyError('model'))"),
        ("model.safetensors", "", "is not a model file, or is incomplete"),
        ("log.jsonl", "[" * 200_000 + "\n", "its files cannot be read (RecursionError"),
        ("log.jsonl", '{"event": "epoch_end"}\n', "its files cannot be read (KeyError('epoch'))"),
    ],
)
def test_a_damaged_run_is_broken_and_the_others_are_listed(
    name: str, content: str, problem: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "rate-0.1" / name).write_text(content)
    found = rows(capsys)
    assert found["runs/rate-0.1"]["state"] == "broken" and problem in found["runs/rate-0.1"]["problem"]
    assert found["runs/rate-0.02"]["state"] == "finished"
    assert problem in text(capsys, "runs") and problem in text(capsys, "runs", "runs/rate-0.1")
    assert imclass.runs("runs/rate-0.1").page("page.html").is_file()


def test_a_run_without_a_recipe_is_broken_and_the_others_are_listed(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = place / "rate-0.1" / "config.json"
    record = json.loads(config.read_text())
    del record["training"]["recipe"]
    config.write_text(json.dumps(record))
    found = rows(capsys)
    assert (found["runs/rate-0.1"]["state"], found["runs/rate-0.02"]["state"]) == ("broken", "finished")


def test_a_model_that_lost_its_end_is_broken(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = place / "rate-0.1" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    assert rows(capsys)["runs/rate-0.1"]["state"] == "broken"


def test_listing_runs_does_not_keep_one_from_beginning(place: Path) -> None:
    """Hold the lock as `imclass runs` does, for a moment and for good."""
    run = Run(place / "rate-0.1")
    with (run.folder / ".lock").open() as file, (run.folder / ".lock").open() as second:
        assert lock_file(file, shared=True) and lock_file(second, shared=True)
        threading.Timer(0.02, second.close).start()
        file.close()
        with run.hold_lock():
            pass
    with (run.folder / ".lock").open() as file:
        assert lock_file(file, shared=True)
        with pytest.raises(UserError, match="another process is training"), run.hold_lock():
            pass


def test_the_table_lists_the_settings_that_differ(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = text(capsys, "runs", "runs/rate-0.02", "runs/rate-0.1").splitlines()
    top1 = f"{100 * provenance(place / 'rate-0.1').metrics['test'].measures['top1']:.2f}%"
    assert lines[0].split() == ["run", "state", "progress", "test", "top-1", "time", "settings"]
    assert lines[2].split()[:5] == ["runs/rate-0.1", "finished", "2/2", "epochs", top1]
    assert lines[2].endswith("  schedule.rate 0.1")
    assert lines[3:] == ["all: recipe mnist-lenet, data pets, model.network lenet-5"]
    assert text(capsys, "runs", "runs/rate-0.1").splitlines()[0].split()[-1] == "time"  # there is nothing to compare
    lines = text(capsys, "runs", "runs", "--table-format", "markdown").splitlines()
    assert lines[0].startswith("| run | state | progress | out-of-fold top-1 | test top-1 | time | ")
    assert "(sd " in lines[5] and len({line.count("|") for line in lines}) == 1


def test_the_csv_file_has_every_measure(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["runs", "runs", "--table-format", "csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    found = rows(capsys)
    assert [row["run"] for row in table] == list(found)
    for row, known in zip(table, found.values(), strict=True):
        for split, measures in known["results"].items():
            assert {name: float(row[f"{split} {name}"]) for name in measures} == measures
    assert [row["stages.0.schedule.rate"] for row in table[-2:]] == ["0.02", "0.1"]


def test_a_name_cannot_become_a_formula_or_a_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "rate-0.1").rename("=1+1\n<b>|")
    assert "\n'" not in text(capsys, "runs", "=1+1\n<b>|")
    assert main(["runs", "=1+1\n<b>|", "--table-format", "csv"]) == 0
    assert next(csv.DictReader(io.StringIO(capsys.readouterr().out)))["run"] == "'=1+1\n<b>|"
    assert "=1+1\\n&lt;b&gt;\\|" in text(capsys, "runs", "=1+1\n<b>|", "--table-format", "markdown")
    page = read(imclass.runs("=1+1\n<b>|").page("page.html").read_text())
    assert not page.all("b")


# The page


def charts(page: Node) -> dict[str, Node]:
    """Return the chart of each quantity, by its title."""
    figures = page.one(id="curves").all("figure")
    return {figure.all("text", **{"class": "what"})[0].text: figure for figure in figures}


def test_the_page_has_the_curves_of_every_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--out", "page.html"]) == 0
    assert capsys.readouterr().err == "wrote page.html\n"
    page = read(Path("page.html").read_text())
    assert set(dangers(page)) <= {"<g>"}
    table = page.one(id="results")
    assert [row.attributes.get("id") for row in table.one("tbody").all("tr")] == [
        "run-1", None, None, "run-2", None, None, "run-3", "run-4",
    ]  # fmt: skip
    found = charts(page)
    assert list(found) == [f"{s} {q}" for s in ("out-of-fold", "test", "train") for q in ("error (%)", "loss")]
    groups = found["test error (%)"].all("g")
    assert [group.one("title").text for group in groups] == ["runs/chain", "runs/rate-0.02", "runs/rate-0.1"]
    log = [entry for entry in Run(place / "rate-0.1").events() if entry["event"] == "evaluated"]
    ticks = [
        (float(str(t.attributes["y"])), float(t.text)) for t in found["test error (%)"].all("text", **{"class": "end"})
    ]
    (y0, low), (y1, high) = ticks[0], ticks[-1]
    drawn = [float(point.split(",")[1]) for point in str(groups[2].one("polyline").attributes["points"]).split()]
    errors = [low + (y - y0) / (y1 - y0) * (high - low) for y in drawn]
    assert errors == pytest.approx([100 * (1 - entry["top1"]) for entry in log], abs=0.1)
    folds = found["out-of-fold loss"].all("g")
    assert len(folds) == 1 and len(folds[0].all("circle")) == 2  # a point for each fold of one epoch


def test_a_diverged_run_does_not_flatten_the_others(place: Path) -> None:
    log = place / "rate-0.1" / "log.jsonl"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    big = [e | {"loss": 1e6} if e["event"] == "evaluated" else e for e in entries]
    log.write_text("".join(json.dumps(entry) + "\n" for entry in big))
    chart = charts(read(imclass.runs("runs").page("page.html").read_text()))["test loss"]
    assert max(float(tick.text) for tick in chart.all("text", **{"class": "end"})) < 10
    assert chart.one("figcaption").text == "Values of 1 of 3 runs above the chart are drawn at its upper edge."


def test_more_runs_than_styles_have_a_row_and_a_curve_each(place: Path) -> None:
    for number in range(45):
        shutil.copytree(place / "rate-0.02", f"many/{number}")
    page = read(imclass.runs("many").page("page.html").read_text())
    groups = charts(page)["test loss"].all("g")
    assert len(groups) == len(page.one(id="results").one("tbody").all("tr")) == 45
    styles = [str(group.attributes["class"]).split(" ", 1)[1] for group in groups]
    assert len(set(styles)) == 40 and styles[0] == styles[40]


def test_a_file_of_the_users_is_not_replaced(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("page.html").write_text("mine")
    assert main(["runs", "--out", "page.html"]) == 2
    assert "page.html already exists" in capsys.readouterr().err and Path("page.html").read_text() == "mine"
    imclass.runs("runs").page("ours.html")
    assert main(["runs", "--out", "ours.html"]) == 0
    capsys.readouterr()
    assert main(["runs", "absent"]) == 2
    assert capsys.readouterr().err == "imclass: absent does not exist; pass a run, or a folder that contains runs\n"
    with pytest.raises(UserError, match="no folder was given; pass a run"):
        imclass.runs([])
    with pytest.raises(UserError, match="--table-format is html; it must be markdown or csv"):
        imclass.runs("runs").table("html")
