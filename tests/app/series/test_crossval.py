"""Cross-validation: ordinary runs, pooled predictions, an ensemble that has seen all images, and resuming."""

import json
import shlex
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.app.api import evaluate, load, report, train
from imclass.app.cli.main import main
from imclass.app.load import load_classifier
from imclass.app.runs import train as runs
from imclass.app.runs.directory import Run
from imclass.app.series.prepare import settle_series
from imclass.app.settings.configure import configure
from imclass.app.settings.record import read_run_record
from imclass.app.settings.series import Crossval
from imclass.core.config import Cut, Fold, Stage, Training
from imclass.core.errors import UserError
from imclass.data.catalog import open_split
from imclass.evaluation.folds import OUT_OF_FOLD, read_folds
from imclass.evaluation.results import read_row
from imclass.pipelines.solvers.logistic import LogisticSolver
from imclass.store.context import open_context
from imclass.training.events import DivisionEnd, Event, LegEnd, StepEnd
from imclass.training.kinds import kind_tables
from tests.support.small import digest, fingerprint, provenance, save_untrained, start, tree, wait_until

FOLDS = 2
COMMAND = "train mnist-lenet --data pets --epochs 1 --batch 4 --no-pictures --crossval"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Cross-validate once, in the folder `run` next to the images in `pets`."""
    folder = tmp_path_factory.mktemp("crossval")
    tree(folder / "pets", per_class=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(shlex.split(f"{COMMAND} {FOLDS} --out run")) == 0
        yield folder


class Nothing:
    """A consumer that does nothing, in place of those that draw curves and write for TensorBoard."""

    def __init__(self, *_: Any) -> None: ...

    def see(self, event: Event) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for name in ("Curves", "TensorBoard"):
        monkeypatch.setattr(runs, name, Nothing)


def begin(out: str, **more: Any) -> Iterator[Event]:
    """Begin or resume the cross-validation of the fixture in another folder."""
    choices: dict[str, Any] = {"data": "pets", "epochs": 1, "batch": 4, "pictures": False, "crossval": FOLDS} | more
    return train("mnist-lenet", out, **choices)


def test_each_fold_is_an_ordinary_run() -> None:
    for number in range(1, FOLDS + 1):
        run = Run(Path("run/folds") / str(number))
        assert run.is_finished
        record = read_run_record(run.config, kind_tables())
        assert record.training.split == Fold(FOLDS, number)
        data = provenance(run.folder).data
        assert data is not None and data.rule == f"fold {number}/{FOLDS}, seed 0"
    words = "train mnist-lenet --data pets --epochs 1 --batch 4 --no-pictures --split.kind fold --split.folds 2"
    assert main([*shlex.split(words), "--split.number", "2", "--out", "single"]) == 0
    assert digest(Path("single")) == digest(Path("run/folds/2"))


def test_the_pooled_predictions_are_those_of_models_that_have_not_seen_the_image() -> None:
    result, context, right, names = read_folds(Path(f"run/scores/{OUT_OF_FOLD}.npz")), open_context(), 0, []
    for number in range(1, FOLDS + 1):
        held_out = open_split("pets", "test", context, Cut(Fold(FOLDS, number)))
        model = load_classifier(f"run/folds/{number}", context)
        for i in range(len(held_out)):
            found = int(model.classify([held_out[i]]).argmax())
            right += found == held_out.targets.numpy()[i]
            names.append(held_out.name(i))
    assert result.pooled.measures["top1"] == right / 14
    assert list(result.row.images) == sorted(names) and len(set(names)) == 14
    assert read_row(Path(f"run/scores/{OUT_OF_FOLD}.npz")).facts.models == ("mnist-lenet",)


def test_the_model_is_the_mean_of_the_folds_and_has_seen_every_image() -> None:
    context = open_context()
    whole = open_split("pets", "all", context)
    model, members = load("run"), [load(f"run/folds/{n}") for n in range(1, FOLDS + 1)]
    images = [whole[i] for i in range(len(whole))]
    mean = np.mean([member.classify(images).softmax(1).numpy() for member in members], axis=0)
    assert np.allclose(model.classify(images).softmax(1).numpy(), mean, rtol=1e-4)
    assert model.trained_on is not None and model.trained_on.tolist() == sorted(whole.contents().tolist())
    known = provenance(Path("run"))
    assert known.data is not None and known.data.rule == "2 folds, seed 0" and known.data.digest == whole.digest()
    assert known.recipe["crossval"] == FOLDS and "2 models" in known.chosen
    assert known.metrics[OUT_OF_FOLD].evaluated == 14


def test_only_new_images_are_scored_by_the_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was trained on all 14 images in split 'all' of"):
        evaluate("run")
    shutil.copytree("pets", tmp_path / "pets")
    tree(tmp_path / "pets", per_class=9)  # two more of each class
    result = evaluate("run", tmp_path / "pets")
    assert len(result.evaluation.targets) == 4 and result.evaluation.left_out == 14
    fold = evaluate("run/folds/2", tmp_path / "pets").evaluation  # of a copy, it scores all that it has not seen
    in_training = len(open_split("pets", "train", open_context(), Cut(Fold(FOLDS, 2))))
    assert len(fold.targets) == 18 - in_training and fold.left_out == in_training
    assert len(evaluate("run/folds/2").evaluation.targets) == 14 - in_training


def test_every_fold_ends_with_an_event_and_consumers_are_closed_once() -> None:
    class Watcher:
        def __init__(self) -> None:
            self.events: list[Event] = []
            self.closed = 0

        def see(self, event: Event) -> None:
            self.events.append(event)

        def close(self) -> None:
            self.closed += 1

    watcher = Watcher()
    events = list(begin("python", consumers=[watcher]))
    assert watcher.events == events and watcher.closed == 1
    ends = [event for event in events if isinstance(event, DivisionEnd)]
    assert [(end.number, end.divisions, end.path.name) for end in ends] == [(1, 2, "1"), (2, 2, "2")]
    assert sum(isinstance(event, LegEnd) for event in events) == FOLDS
    assert digest(Path("python")) == digest(Path("run"))
    assert list(begin("python")) == []


@pytest.mark.parametrize(("fold", "step"), [(1, 2), (2, 0)])
def test_a_cross_validation_that_ends_at_any_moment_is_resumed_with_the_same_bits(
    fold: int, step: int, tmp_path: Path
) -> None:
    """Leave the events inside a fold, or between two folds, as a process does that is killed."""
    events, seen = begin(str(tmp_path / "run")), 1
    for event in events:
        if seen == fold and (isinstance(event, StepEnd) and event.at.step == step):
            break
        if isinstance(event, DivisionEnd):
            seen += 1
            if seen == fold and not step:
                break
    events.close()  # type: ignore[attr-defined]
    done = [tmp_path / "run" / "folds" / str(number) for number in range(1, fold)]
    before = [fingerprint(folder) for folder in done]
    assert not (tmp_path / "run" / "model.safetensors").exists()
    rest = list(begin(str(tmp_path / "run")))
    assert [event.number for event in rest if isinstance(event, DivisionEnd)] == [1, 2]
    assert sum(isinstance(event, LegEnd) for event in rest) == FOLDS - len(done)
    assert [fingerprint(folder) for folder in done] == before
    assert digest(tmp_path / "run") == digest(Path("run"))
    pooled = (folder / "scores" / f"{OUT_OF_FOLD}.npz" for folder in (tmp_path / "run", Path("run")))
    assert len({path.read_bytes() for path in pooled}) == 1


def test_ctrl_c_saves_the_fold_and_the_same_command_resumes(tmp_path: Path) -> None:
    class Stopper:
        def see(self, event: Event) -> None:
            if isinstance(event, StepEnd) and event.at.step == 1 and Path(tmp_path / "run/folds/2").is_dir():
                signal.raise_signal(signal.SIGINT)

        def close(self) -> None: ...

    with pytest.raises(KeyboardInterrupt, match=r"stopped at step .*; saved"):
        list(begin(str(tmp_path / "run"), consumers=[Stopper()]))
    assert [path.name for path in sorted((tmp_path / "run" / "folds").iterdir())] == ["1", "2"]
    list(begin(str(tmp_path / "run")))
    assert digest(tmp_path / "run") == digest(Path("run"))


@pytest.mark.slow
@pytest.mark.parametrize("place_of_kill", ["folds/1/checkpoints", "folds/2/log.jsonl", "folds/2/model.safetensors"])
def test_a_killed_process_is_resumed_with_the_same_bits(place_of_kill: str, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [*shlex.split(f"{COMMAND} {FOLDS} --save-every 0 --out"), str(out)]
    process = start(words, place)
    wait_until(lambda: (out / place_of_kill).exists(), process)
    process.kill()
    process.communicate()
    assert main(words) == 0
    assert digest(out) == digest(Path("run"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--crossval 3", "run was begun with a different configuration:\n  crossval: 2 before, 3 now"),
        ("--crossval 2 --seed 5", "run was begun with a different configuration:\n  seed: 0 before, 5 now"),
        ("", "crossval: 2 before, absent now"),
        ("--crossval 2 --out run/folds/1", "crossval: absent before, 2 now"),
        ("--crossval 2 --split.test 0.3 --out new", "--crossval divides the data into folds, so leave out --split"),
        ("--crossval 1 --out new", "--crossval is 1; it must be at least 2 folds"),
        (
            "--crossval 9 --out new",
            "9 folds cannot be made from the 7 images in class 'cat' of {pets}; use at most",
        ),
        ("--crossval 2 --batch 11 --out new", "--batch 11 is larger than the number of training images (7)"),
        ("--crossval 2 --out pets/cat/new", "is in the folder with the images of class 'cat'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_work(
    words: str, message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fingerprint(Path("run"))
    base = "train mnist-lenet --data pets --epochs 1 --batch 4 --no-pictures --out run"
    assert main([*shlex.split(base), *shlex.split(words)]) == 2
    assert message.format(pets=place / "pets") in capsys.readouterr().err
    assert fingerprint(Path("run")) == before
    assert not Path("new").exists() and not Path("pets/cat/new/folds/1/config.json").exists()


def test_a_change_before_any_result_is_accepted(tmp_path: Path) -> None:
    for folds in (3, 2):
        begin(str(tmp_path / "run"), crossval=folds)  # the folder is made, and nothing is trained
        assert read_run_record(tmp_path / "run" / "config.json", kind_tables()).series == Crossval(folds)


def test_the_terminal_shows_folds_spread_interval_and_confusion(capsys: pytest.CaptureFixture[str]) -> None:
    before = fingerprint(Path("run"))
    assert main(shlex.split(f"{COMMAND} {FOLDS} --out run")) == 0  # finished: nothing is repeated
    shown, result = capsys.readouterr(), read_folds(Path(f"run/scores/{OUT_OF_FOLD}.npz"))
    mean, deviation = (100 * f("top1") for f in (result.scores.mean, result.scores.deviation))
    assert "training" not in shown.err and fingerprint(Path("run")) == before
    assert "fold 1/2: top-1 " in shown.out and "fold 2/2: top-1 " in shown.out
    assert f"top-1 over 2 folds: mean {mean:.2f}%, standard deviation {deviation:.2f} " in shown.out
    assert result.interval is not None
    low, high = (100 * end for end in result.interval)
    assert f"({low:.2f} to {high:.2f}) (95%, Wilson) on all 14 images" in shown.out
    assert "rows: true class; columns: predicted class" in shown.out and "finished: run/model.safetensors" in shown.out
    assert main(shlex.split(f"{COMMAND} {FOLDS} --out run --json")) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["mean"] == result.scores.mean("top1") and len(record["folds"]) == 2 and record["test"] is None
    assert record["interval"] == list(result.interval)


def test_a_dry_run_of_a_finished_cross_validation_measures_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "estimate_run", lambda *_: pytest.fail("finished work was measured"))
    assert main(shlex.split(f"{COMMAND} {FOLDS} --out run --dry-run --json")) == 0
    assert json.loads(capsys.readouterr().out)["estimate"] is None


def test_a_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"{COMMAND} {FOLDS} --out dry --dry-run --json")) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["crossval"] == 2 and record["training"]["split"] == {"kind": "share", "test": 0.2}
    assert not Path("dry").exists()


def test_the_report_shows_each_fold() -> None:
    page = Path("run/report.html").read_text()
    assert "2 x lenet-5" in page and 'id="folds"' in page and "over 2 folds: mean" in page
    assert "(Wilson)" in page and "Confusion matrix" in page
    assert report("run").read_text() == page


def test_the_models_other_verbs_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split("info run")) == 0
    assert "out-of-fold" in capsys.readouterr().out
    assert main(shlex.split("predict run pets/cat/000.png")) == 0
    assert main(shlex.split(f"compare run/scores/{OUT_OF_FOLD}.npz run/folds/1/scores/test.npz")) == 0
    assert "difference" in capsys.readouterr().out
    assert main(shlex.split(f"weights export run --format torchvision --out {tmp_path}/x.pth")) == 2
    assert main(shlex.split("train mnist-lenet --data pets --init run --out new")) == 2
    assert "is not a single network" in capsys.readouterr().err


def test_data_with_a_test_split_is_scored_by_the_ensemble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pets, run = tmp_path / "pets", tmp_path / "run"
    tree(pets / "train", per_class=6)
    (pets / "train" / "cat" / "002.png").write_bytes(b"no image")
    for name in ("cat", "dog"):
        (pets / "val" / name).mkdir(parents=True)
        content = (pets / "train" / name / "000.png").read_bytes()
        (pets / "val" / name / "a.png").write_bytes(content + name.encode())  # other content, with the same pixels
    words = "train mnist-lenet --epochs 1 --batch 2 --no-pictures --validation 0.25 --crossval 2 --data"
    assert main([*shlex.split(words), str(pets), "--out", str(run)]) == 1
    shown = capsys.readouterr()
    assert "comes with a validation split: its 12 train images are divided into folds" in shown.err
    assert "11 of 12 evaluated, 1 refused" in shown.out and "test images, held back from all folds" in shown.out
    folds = read_folds(run / "scores" / f"{OUT_OF_FOLD}.npz")
    assert not any("val/" in name for name in folds.row.images)
    known = provenance(run)
    assert known.data is not None and known.data.rule == "folders; train divided into 2 folds, seed 0"
    test = evaluate(run).evaluation
    assert len(test.targets) == 2 and test.left_out == 0
    assert known.metrics["test"].measures["loss"] == pytest.approx(test.measures["loss"], rel=1e-4)
    shutil.copytree(pets / "val", pets / "test")
    with pytest.raises(UserError, match=r"a validation split and a test split.*divides only train"):
        begin(str(tmp_path / "other"), data=str(pets))


def test_all_folds_have_the_stages_of_the_smallest(tmp_path: Path) -> None:
    """Divide 6 and 9 images into 5 folds: only in fold 1 is a class too small to cut validation images from it."""
    tree(tmp_path / "pets", per_class=9)
    for i in (6, 7, 8):
        (tmp_path / "pets" / "cat" / f"00{i}.png").unlink()
    base = configure("mnist-lenet", data=str(tmp_path / "pets"))
    stages = (Stage(name="probe", kind="solve", solver=LogisticSolver()), replace(base.stages[0], name="all"))
    config: Training = replace(base, stages=stages, validation=0.2)
    settled, notes = settle_series(config, Run(Path("x"), series=Crossval(5)), (), open_context())
    assert (
        isinstance(settled, Training)
        and len(settled.stages) == 1
        and settled.validation == 0
        and settled.split == config.split
    )
    assert sum("too few to hold out" in note for note in notes) == 1


def test_the_notes_are_those_of_the_settled_config(tmp_path: Path) -> None:
    tree(tmp_path / "pets", per_class=7)
    (tmp_path / "pets" / "cat" / "006.png").unlink()
    config, notes = settle_series(
        configure("mnist-lenet", data=str(tmp_path / "pets")), Run(Path("x"), series=Crossval(2)), (), open_context()
    )
    assert isinstance(config, Training) and config.stages[0].batch == 6
    assert [note for note in notes if "batch" in note] == [
        "the recipe's batch of 64 is reduced to 6, the number of training images"
    ]


def test_chosen_classes_are_those_of_all_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, images in (("train", 6), ("test", 2)):
        tree(tmp_path / "pets" / split, images, ("cat", "dog", "emu", "owl"))
    words = "train mnist-lenet --epochs 1 --batch 2 --no-pictures --crossval 2 --classes owl emu=bird dog=bird --data"
    assert main([*shlex.split(words), str(tmp_path / "pets"), "--out", str(tmp_path / "run")]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "are left out" in line]
    assert len(notes) == 2 and "6 of 24 images of train" in notes[0] and "2 of 8 images of test" in notes[1]
    model, known = load(tmp_path / "run"), provenance(tmp_path / "run")
    assert model.classes == ("owl", "bird") and known.metrics["test"].evaluated == 6
    assert known.metrics[OUT_OF_FOLD].evaluated == 18
    assert known.data is not None and known.data.cut.classes == ("owl", "emu=bird", "dog=bird")
    counts = read_run_record(tmp_path / "run" / "config.json", kind_tables()).counts
    assert counts == {"train": (6, 12), "test": (2, 4)}


def test_a_growing_model_is_cross_validated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, images in (("train", 6), ("test", 2)):
        tree(tmp_path / "pets" / split, images)
    save_untrained(tmp_path / "old.safetensors", ("yak", "dog"))
    words = "train mnist-lenet --epochs 1 --batch 2 --no-pictures --crossval 2 --grow"
    paths = ["--data", str(tmp_path / "pets"), "--init", str(tmp_path / "old.safetensors")]
    assert main([*shlex.split(words), *paths, "--out", str(tmp_path / "run")]) == 0
    assert "old classes: top-1 " in capsys.readouterr().out
    known = provenance(tmp_path / "run")
    assert load(tmp_path / "run").classes == ("yak", "dog", "cat")
    assert known.data is not None and known.data.cut.old == ("yak", "dog")
    assert {"top1_old", "top1_new"} <= set(known.metrics[OUT_OF_FOLD].measures) & set(known.metrics["test"].measures)


def test_lost_results_are_written_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree("run", run)
    (run / "scores" / f"{OUT_OF_FOLD}.npz").unlink()
    with pytest.raises(UserError, match=r"To write the file again, remove .*run/model\.safetensors and run the same"):
        report(run)
    (run / "model.safetensors").unlink()
    list(begin(str(run)))
    assert digest(run) == digest(Path("run")) and report(run).is_file()


def test_files_that_a_killed_process_left_are_removed(tmp_path: Path) -> None:
    shutil.copytree("run", tmp_path / "run")
    for path in (tmp_path / "run" / "model.safetensors", tmp_path / "run" / "folds" / "2" / "model.safetensors"):
        path.unlink()
    for folder in (tmp_path / "run", tmp_path / "run" / "folds" / "2"):
        (folder / "scores" / ".test.npz.a1b2.part").touch()
        (folder / ".model.safetensors.a1b2.part").touch()
    list(begin(str(tmp_path / "run")))
    assert not list((tmp_path / "run").rglob("*.part")) and digest(tmp_path / "run") == digest(Path("run"))


def test_a_fold_is_not_divided_again() -> None:
    with pytest.raises(UserError, match="belongs to a single fold"):
        train(read_run_record(Path("run/folds/1/config.json"), kind_tables()).training, "new", crossval=2)


def test_a_fold_without_scores_is_named(tmp_path: Path) -> None:
    shutil.copytree("run", tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    (tmp_path / "run" / "folds" / "2" / "scores" / "test.npz").unlink()
    with pytest.raises(UserError, match=r"To repeat fold 2, remove .*folds/2 and run the same command again"):
        list(begin(str(tmp_path / "run")))


def test_a_number_of_folds_from_python_must_be_whole(tmp_path: Path) -> None:
    """Pass True, because the tests' type checks already refuse values that are not of type int."""
    with pytest.raises(UserError, match="--crossval is True; it must be a whole number"):
        begin(str(tmp_path / "run"), crossval=True)
    assert not (tmp_path / "run").exists()
