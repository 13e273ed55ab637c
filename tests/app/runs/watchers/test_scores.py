"""A run keeps the scores of the chosen weights on every split, and of the last weights on validation."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imclass
from imclass.app.cli.main import main
from imclass.app.runs.directory import Run
from imclass.app.runs.watchers import scores as watchers
from imclass.app.runs.watchers.scores import score_file_names
from imclass.core.config import Cut
from imclass.data.catalog import open_split
from imclass.evaluation.results import read_scores
from imclass.evaluation.score import evaluate
from imclass.models.classifier import load_network_classifier
from imclass.store.context import open_context
from imclass.training.events import Evaluated, Event, LegEnd
from tests.app.runs.test_legs import CHAIN
from tests.support.events import at, evaluation
from tests.support.small import tree

WORDS = {"batch": 8, "data": "pets", "device": "cpu", "epochs": 3, "workers": 0}


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tree(tmp_path / "pets", per_class=20)


def run(**changes: Any) -> list[Event]:
    return list(imclass.train("mnist-lenet", "run", **WORDS | changes))


def assert_scores(path: str, result: Any) -> None:
    """Check that a file holds this evaluation to the bit, and names its images."""
    saved = read_scores(Path(path))
    np.testing.assert_array_equal(saved.evaluation.scores, result.scores)
    np.testing.assert_array_equal(saved.evaluation.ids, result.ids)
    assert len(saved.names) == len(result.ids) and saved.names[0].endswith(".png")


def test_without_validation_the_last_scores_are_kept(pets: Path) -> None:
    last = [event for event in run() if isinstance(event, Evaluated)][-1]
    assert os.listdir("run/scores") == ["test.npz"]
    assert_scores("run/scores/test.npz", last.result)
    assert_scores(
        "run/scores/test.npz", evaluate(load_network_classifier("run"), open_split("pets", "test", open_context()))
    )


def test_with_validation_the_best_and_the_last_scores_are_kept(pets: Path) -> None:
    scored = [event for event in run(validation=0.2, epochs=4) if isinstance(event, Evaluated)]
    assert sorted(os.listdir("run/scores")) == ["test.npz", "validation-last.npz", "validation.npz"]
    validation = [event for event in scored if event.split == "validation"]
    assert_scores("run/scores/validation-last.npz", validation[-1].result)
    assert_scores("run/scores/validation.npz", [event for event in validation if event.best][-1].result)
    cut = Cut(validation=0.2)
    for split in ("validation", "test"):
        assert_scores(
            f"run/scores/{split}.npz",
            evaluate(load_network_classifier("run"), open_split("pets", split, open_context(), cut)),
        )
    trained = load_network_classifier("run").trained
    assert trained is not None
    for split in ("validation", "test"):  # the model file has the same measures
        result = read_scores(Path(f"run/scores/{split}.npz")).evaluation
        assert result.measures["top1"] == trained.metrics[split].measures["top1"]


def test_the_scores_of_a_run_may_replace_its_model(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert main(["evaluate", "run/scores/test.npz", "--json"]) == 0
    saved = json.loads(capsys.readouterr().out)
    assert main(["evaluate", "run", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert saved["confusion"] == scored["confusion"] and saved["loss"] == pytest.approx(scored["loss"], rel=1e-5)
    assert saved["data"] == "split test of pets (held out of training: hash 80/20, seed 0)"
    assert scored["rows"][0]["tested"]["nets"] == saved["rows"][0]["tested"]["nets"]
    assert main(["compare", "run/scores/test.npz", "run", "--json"]) == 0


def test_each_leg_has_its_scores(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    text = CHAIN.replace('"photos"', '"pets"').replace("\n    ", "\n")
    (tmp_path / "plugins" / "chain.py").write_text(text)
    events = list(imclass.train("chain", "run", plugins="plugins", workers=0))
    for number, name in enumerate(("shallow", "deep")):
        folder = f"run/legs/{number + 1:02d}-{name}/scores"
        assert sorted(os.listdir(folder)) == ["test.npz", "validation-last.npz", "validation.npz"]
        tests = [e for e in events if isinstance(e, Evaluated) and e.split == "test" and e.at.stage == number]
        assert_scores(f"{folder}/test.npz", tests[0].result)
    assert not Path("run/scores").exists() and Path("run/pictures/index.json").is_file()
    assert imclass.report("run", plugins="plugins") == Path("run/report.html")
    assert sum(isinstance(event, LegEnd) for event in events) == 2


def test_files_are_named_by_split() -> None:
    def names(split: str, best: bool = False) -> list[str]:
        return [name for name, _ in score_file_names(Evaluated(at(1, 1), evaluation(), split, best))]

    assert names("test") == ["test"]
    assert names("validation") == ["validation-last"]
    assert names("validation", best=True) == ["validation-last", "validation"]


def test_a_failed_file_is_removed_and_written_again(
    pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check this with a disk that is full at the scores of the second epoch."""
    save, calls = watchers.save_scores, list[int]()

    def fail_once(path: Path, *rest: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            assert path.exists()  # from the first epoch
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        assert len(calls) != 3 or not path.exists()  # removed, until it is written again
        save(path, *rest)

    monkeypatch.setattr(watchers, "save_scores", fail_once)
    last = [event for event in run() if isinstance(event, Evaluated)][-1]
    assert_scores("run/scores/test.npz", last.result)
    assert "saving the scores failed" in capsys.readouterr().err and len(calls) == 4


def test_scores_of_an_earlier_start_are_removed(pets: Path) -> None:
    """Check a run that was killed before its first checkpoint, and may start over with another configuration."""
    for folder in ("scores", "pictures", "legs/01-old/scores"):
        Path("run", folder).mkdir(parents=True)
    Path("run/scores/validation.npz").write_bytes(b"old")
    Run(Path("run")).truncate_log(None)
    assert not any(Path("run").iterdir())


def test_scores_do_not_depend_on_the_folder(pets: Path) -> None:
    """Check that the same run in another folder writes the same bytes."""
    run()
    list(imclass.train("mnist-lenet", "deep/down/other", **WORDS))
    assert Path("run/scores/test.npz").read_bytes() == Path("deep/down/other/scores/test.npz").read_bytes()
