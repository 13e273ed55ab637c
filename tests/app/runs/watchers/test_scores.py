"""Scores that a run keeps: of the chosen weights on every split, of the last ones on validation; read as any others."""

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

WORDS = {"batch": 8, "data": "pets", "epochs": 3, "workers": 0}


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tree(tmp_path / "pets", per_class=20)


def run(**changes: Any) -> list[Event]:
    return list(imclass.train("mnist-lenet", "run", **WORDS | changes))


def same(path: str, result: Any) -> None:
    """The file holds this evaluation to the bit, and names its images."""
    saved = read_scores(Path(path))
    np.testing.assert_array_equal(saved.evaluation.scores, result.scores)
    np.testing.assert_array_equal(saved.evaluation.ids, result.ids)
    assert len(saved.names) == len(result.ids) and saved.names[0].endswith(".png")


def test_without_validation_the_last_scores_are_those_of_the_chosen_weights(pets: Path) -> None:
    last = [event for event in run() if isinstance(event, Evaluated)][-1]
    assert os.listdir("run/scores") == ["test.npz"]
    same("run/scores/test.npz", last.result)
    same("run/scores/test.npz", evaluate(load_network_classifier("run"), open_split("pets", "test", open_context())))


def test_with_validation_the_best_and_the_last_are_kept(pets: Path) -> None:
    scored = [event for event in run(validation=0.2, epochs=4) if isinstance(event, Evaluated)]
    assert sorted(os.listdir("run/scores")) == ["test.npz", "validation-last.npz", "validation.npz"]
    validation = [event for event in scored if event.split == "validation"]
    same("run/scores/validation-last.npz", validation[-1].result)
    same("run/scores/validation.npz", [event for event in validation if event.best][-1].result)
    cut = Cut(validation=0.2)
    for split in ("validation", "test"):
        same(
            f"run/scores/{split}.npz",
            evaluate(load_network_classifier("run"), open_split("pets", split, open_context(), cut)),
        )
    trained = load_network_classifier("run").trained
    assert trained is not None
    for split in ("validation", "test"):  # the model file says the same
        result = read_scores(Path(f"run/scores/{split}.npz")).evaluation
        assert result.measures["top1"] == trained.metrics[split].measures["top1"]


def test_saved_scores_of_a_run_stand_for_its_model(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
        same(f"{folder}/test.npz", tests[0].result)
    assert not Path("run/scores").exists() and Path("run/pictures/index.json").is_file()
    assert imclass.report("run", plugins="plugins") == Path("run/report.html")
    assert sum(isinstance(event, LegEnd) for event in events) == 2


def test_files_of_an_evaluation() -> None:
    def names(split: str, best: bool = False) -> list[str]:
        return [name for name, _ in score_file_names(Evaluated(at(1, 1), evaluation(), split, best))]

    assert names("test") == ["test"]
    assert names("validation") == ["validation-last"]
    assert names("validation", best=True) == ["validation-last", "validation"]


def test_what_could_not_be_written_is_tried_again_and_nothing_older_stays(
    pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full at the second epoch's scores."""
    save, calls = watchers.save_scores, list[int]()

    def fail_once(path: Path, *rest: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            assert path.exists()  # of the first epoch
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        assert len(calls) != 3 or not path.exists()  # removed, until it is written again
        save(path, *rest)

    monkeypatch.setattr(watchers, "save_scores", fail_once)
    last = [event for event in run() if isinstance(event, Evaluated)][-1]
    same("run/scores/test.npz", last.result)
    assert "scores failed" in capsys.readouterr().err and len(calls) == 4


def test_scores_of_an_earlier_beginning_go(pets: Path) -> None:
    """A run that was killed before its first checkpoint begins anew, with another configuration perhaps."""
    for folder in ("scores", "pictures", "legs/01-old/scores"):
        Path("run", folder).mkdir(parents=True)
    Path("run/scores/validation.npz").write_bytes(b"old")
    Run(Path("run")).cut(None)
    assert not any(Path("run").iterdir())


def test_scores_need_no_place(pets: Path) -> None:
    """The same run elsewhere has the same bytes."""
    run()
    list(imclass.train("mnist-lenet", "deep/down/other", **WORDS))
    assert Path("run/scores/test.npz").read_bytes() == Path("deep/down/other/scores/test.npz").read_bytes()
