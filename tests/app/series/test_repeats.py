"""Repeated random splits: ordinary runs, their mean and deviation, resuming; and series of pipelines."""

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import imclass
from imclass.app.cli.main import main
from imclass.app.settings.record import read_run_record
from imclass.app.settings.series import Repeats, series_in, series_of
from imclass.core.config import Count, Cut, Fold
from imclass.core.errors import UserError
from imclass.data.catalog import open_split
from imclass.evaluation.ensemble import Ensemble
from imclass.evaluation.results import read_scores
from imclass.store.context import open_context
from imclass.training.events import DivisionEnd, Event
from imclass.training.kinds import kind_tables
from tests.support.small import digest, fingerprint, start, tree, wait_until

PARTS = "--parts dense-sift words linear-svm --parts.dense-sift.bin 2 --parts.dense-sift.scales 1 --parts.words.words 4"
FIT = f"train folder-bow-spm --data pets --step 4 --sample 2000 {PARTS} --no-pictures"
COUNT = "--split.kind count --split.train 5 --split.test 3"
COMMAND = f"{FIT} {COUNT} --repeats 3"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Train on three random splits once, in the folder `run` next to the images in `pets`."""
    folder = tmp_path_factory.mktemp("repeats")
    tree(folder / "pets", 10, side=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("IMCLASS_STORE", str(folder / "store"))
        assert main(shlex.split(f"{COMMAND} --out run")) == 0
        yield folder


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("IMCLASS_STORE", str(place / "store"))


def events_of(words: str, out: Path | str) -> Iterator[Event]:
    """Begin or resume the run of the fixture in another folder, in Python."""
    config = read_run_record(Path("run/config.json"), kind_tables()).config
    return imclass.train(config, str(out), pictures=False, **json.loads(words))


def test_each_split_is_an_ordinary_run() -> None:
    seen = []
    for number in (1, 2, 3):
        folder = Path("run/splits") / str(number)
        record = read_run_record(folder / "config.json", kind_tables())
        assert record.config.split == Count(5, 3, number) and record.counts == {"train": (5, 5), "test": (3, 3)}
        test = open_split("pets", "test", open_context(), Cut(Count(5, 3, number)))
        saved = read_scores(folder / "scores" / "test.npz")
        assert sorted(saved.names) == [test.name(i) for i in range(len(test))]
        assert imclass.evaluate(folder).evaluation.left_out == 0
        seen.append(saved.names)
    assert len(set(seen)) == 3
    series = read_run_record(Path("run/config.json"), kind_tables())
    assert series.series == Repeats(3) and series.counts == {"train": (5, 5), "test": (3, 3)}
    assert main(shlex.split(f"{FIT} {COUNT} --split.number 2 --out single")) == 0
    assert digest(Path("single")) == digest(Path("run/splits/2"))


def test_the_results_are_those_of_a_plain_loop(capsys: pytest.CaptureFixture[str]) -> None:
    top1, recall = [], []
    for number in (1, 2, 3):
        saved = read_scores(Path(f"run/splits/{number}/scores/test.npz")).evaluation
        right, labels = saved.scores.argmax(1) == saved.targets.numpy(), saved.targets.numpy()
        top1.append(right.mean())
        recall.append(np.mean([right[labels == k].mean() for k in (0, 1)]))
    before = fingerprint(Path("run"))
    capsys.readouterr()
    assert main(shlex.split(f"{COMMAND} --out run --json")) == 0  # finished: nothing is repeated
    record = json.loads(capsys.readouterr().out)
    assert [split["measures"]["balanced"] for split in record["splits"]] == pytest.approx(recall)
    assert record["mean"] == pytest.approx(np.mean(top1))
    assert record["standard_deviation"] == pytest.approx(np.std(top1, ddof=1))
    assert record["spread"]["balanced"]["mean"] == pytest.approx(np.mean(recall))
    assert main(shlex.split(f"{COMMAND} --out run")) == 0
    shown = capsys.readouterr().out
    assert f"split 2/3: top-1 {100 * top1[1]:.2f}%, balanced accuracy {100 * recall[1]:.2f}%, 6 of 6 images" in shown
    deviation = 100 * np.std(recall, ddof=1)
    assert f"(mean recall of the classes) over 3 splits: mean {100 * np.mean(recall):.2f}%" in shown
    assert f"standard deviation {deviation:.2f} percentage points" in shown
    assert fingerprint(Path("run")) == before
    assert not Path("run/model.safetensors").exists()


def test_other_verbs_understand_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(shlex.split("info run")) == 0
    assert "over 3 splits: mean" in capsys.readouterr().out
    assert main(shlex.split("runs run --json")) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    results = json.loads(Path("run/results.json").read_text())
    assert (row["kind"], row["state"], row["done"], row["total"]) == ("repeated splits", "finished", 3, 3)
    assert row["results"]["test"]["top1"] == pytest.approx(results["spread"]["top1"]["mean"])
    assert row["results"]["test"]["balanced_deviation"] == pytest.approx(results["spread"]["balanced"]["deviation"])
    assert [part["kind"] for part in row["parts"]] == ["split"] * 3
    assert main(shlex.split("runs run")) == 0 and "3/3 splits" in capsys.readouterr().out
    page = Path("run/report.html").read_text()
    assert 'id="splits"' in page and "over 3 random splits" in page and "no held-out images" not in page
    assert imclass.report("run").read_text() == page
    for words in ("evaluate run", "predict run pets/cat/000.png", "info run --rename cat=puss --out x.safetensors"):
        assert main(shlex.split(words)) == 2
        assert "several random splits, not one model; choose one, such as run/splits/1" in capsys.readouterr().err


def test_a_series_that_is_left_at_any_event_is_resumed_with_the_same_bits(tmp_path: Path) -> None:
    count = sum(1 for _ in events_of('{"repeats": 3}', tmp_path / "whole"))
    for stop in (3, count // 2, count):  # the last: after all splits, before their results
        events = events_of('{"repeats": 3}', tmp_path / "run")
        for _ in range(stop):
            next(events, None)
        events.close()  # type: ignore[attr-defined]
        if not (tmp_path / "run" / "splits" / "3" / "model.safetensors").exists():
            assert not (tmp_path / "run" / "results.json").exists()
    rest = list(events_of('{"repeats": 3}', tmp_path / "run"))
    assert all(isinstance(event, DivisionEnd) for event in rest)
    for number in (1, 2, 3):
        assert digest(tmp_path / f"run/splits/{number}") == digest(Path(f"run/splits/{number}"))
    assert (tmp_path / "run" / "results.json").read_bytes() == Path("run/results.json").read_bytes()


@pytest.mark.slow
def test_a_killed_process_is_resumed_with_the_same_bits(place: Path, tmp_path: Path) -> None:
    words = [*shlex.split(f"{COMMAND} --out"), str(tmp_path / "run")]
    process = start(words, place)
    wait_until(lambda: (tmp_path / "run/splits/2/config.json").exists(), process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "run" / "results.json").exists()
    assert main(words) == 0
    assert (tmp_path / "run" / "results.json").read_bytes() == Path("run/results.json").read_bytes()


def test_lost_results_are_written_again(tmp_path: Path) -> None:
    shutil.copytree("run", tmp_path / "run")
    (tmp_path / "run" / "results.json").write_text("{}")
    with pytest.raises(UserError, match=r"results.json is missing or damaged. To write it again, remove the file"):
        imclass.report(tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    assert [type(event) for event in events_of('{"repeats": 3}', tmp_path / "run")] == [DivisionEnd] * 3
    assert (tmp_path / "run" / "results.json").read_bytes() == Path("run/results.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--repeats 3 --crossval 2", "--crossval and --repeats divide the data in different ways"),
        ("--repeats 1", "--repeats is 1; it must be at least 2 splits"),
        ("--repeats 3", "--repeats needs random splits, but the kind of the split is share; add --split.kind count"),
        (f"--repeats 3 {COUNT} --split.number 2", "--repeats 3 trains on splits 1 to 3, so leave out --split.number"),
        ("--repeats 3 --split.kind count", "--split.train 30 needs 31 images of each class"),
        (f"--repeats 3 {COUNT} --split.train 10", "has 10 images of class 'cat', and too few of 'dog'; use at most"),
        (f"--repeats 2 {COUNT} --out run", "repeats: 3 before, 2 now"),
        (f"--crossval 2 {COUNT}", "--crossval divides the data into folds, so leave out --split.kind"),
    ],
)
def test_what_cannot_be_done_is_refused_before_work(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fingerprint(Path("run"))
    assert main([*shlex.split(FIT), "--out", "new", *shlex.split(words)]) == 2
    assert message in capsys.readouterr().err
    assert fingerprint(Path("run")) == before and not Path("new").exists()


def test_the_configuration_of_a_single_split_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split("train --config run/splits/2 --repeats 3 --out new")) == 2
    assert "the configuration belongs to a single split" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(shlex.split(f"{COMMAND} --out dry --dry-run --json")) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["repeats"] == 3 and record["fitting"]["split"]["train"] == 5 and record["images"]["train"] == 10
    assert not Path("dry").exists()


@pytest.mark.slow
def test_a_network_is_trained_on_repeated_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"train mnist-lenet --data pets --epochs 1 --batch 4 --no-pictures {COUNT} --repeats 2 --out"
    capsys.readouterr()
    assert main([*shlex.split(words), str(tmp_path / "run")]) == 0
    assert "over 2 splits: mean" in capsys.readouterr().out
    assert "2 x lenet-5" in (tmp_path / "run" / "report.html").read_text()


def test_data_with_splits_is_drawn_from_its_training_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "test"):
        tree(tmp_path / "photos" / split, 8, side=16)
    words = shlex.split(COMMAND.replace("--data pets", f"--data {tmp_path}/photos"))
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert "drawn from its train images, and its 'test' images are not used" in capsys.readouterr().err
    names = read_scores(tmp_path / "run/splits/1/scores/test.npz").names
    assert all(name.startswith("train/") for name in names)


def test_a_pipeline_is_cross_validated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main([*shlex.split(f"{FIT} --crossval 2 --out"), str(out)]) == 0
    shown = capsys.readouterr()
    assert "fold 2/2: top-1 " in shown.out and "on all 20 images" in shown.out and "not written" not in shown.err
    model = imclass.load(out)
    assert isinstance(model, Ensemble) and len(model.members) == 2
    assert model.trained_on is not None and len(model.trained_on) == 20
    record = read_run_record(out / "folds/2/config.json", kind_tables())
    assert record.config.split == Fold(2, 2)
    page = (out / "report.html").read_text()
    assert "2 x dense-sift + words + linear-svm" in page and 'id="folds"' in page
    assert main(["runs", str(out), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert row["kind"] == "cross-validation" and row["results"]["out-of-fold"]["top1"] >= 0
    other = [*shlex.split(f"{FIT} --crossval 2 --parts.linear-svm.folds 3 --out"), str(tmp_path / "other")]
    assert main(other) == 0
    for number in (1, 2):  # only the classifier differs, so the store has all else
        log = (tmp_path / f"other/folds/{number}/log.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in log]
        parts = {event["part"]: event["stored"] for event in found if event["event"] == "part_fitted"}
        assert parts == {"words": True, "linear-svm": False}
        assert {e["computed"] for e in found if e["event"] == "task_progress" and e["unit"] == "images"} == {0}


def test_the_held_back_images_are_scored_by_an_ensemble_of_pipelines(tmp_path: Path) -> None:
    for split in ("train", "test"):
        tree(tmp_path / "photos" / split, 8, side=16)
    words = shlex.split(f"{FIT} --crossval 2".replace("--data pets", f"--data {tmp_path}/photos"))
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    saved = read_scores(tmp_path / "run/scores/test.npz")
    assert all(name.startswith("test/") for name in saved.names) and len(saved.names) == 16


def test_an_option_and_a_record_name_the_same_series() -> None:
    for series in (series_of(None, 4), series_of(5, None)):
        assert series is not None and series_in(series.entry) == series
    assert series_of(None, None) is None and series_in({}) is None
    with pytest.raises(UserError, match="at least 2 folds"):
        series_of(0, None)
