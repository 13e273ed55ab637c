"""A pipeline is fitted from the command line, stopped, resumed, evaluated and used."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import imclass
from imclass.app.cli.fit_progress import finished_text, part_text, task_text
from imclass.app.cli.main import main
from imclass.app.fits.checks import check_fit_options
from imclass.core.codec import from_json, to_json
from imclass.core.config import Fitting
from imclass.core.errors import UserError
from imclass.core.model_file import read_model
from imclass.evaluation.ensemble import Ensemble
from imclass.evaluation.results import read_scores
from imclass.pipelines.parts.fisher import Fisher
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.parts.network_features import NetworkFeatures
from imclass.pipelines.parts.pca import Pca
from imclass.pipelines.parts.pyramid import Pyramid
from imclass.pipelines.parts.union import Channel, Union
from imclass.pipelines.parts.words import VisualWords
from imclass.store.context import open_context
from imclass.training.events import Evaluated, Event, LegEnd, PartFitted, RunPosition, TaskProgress
from imclass.training.kinds import kind_tables
from tests.support import parts as plugin
from tests.support.parts import Blocks
from tests.support.small import save_untrained, tree

PARTS = (Blocks(3), Pca(2), Pyramid(("1x1", "1x2")), Fisher(3), Logistic((0.1, 1.0), folds=2))
WORDS = (Blocks(4), Pyramid(("1x2",)), VisualWords(4), Logistic((1.0, 10.0), folds=2))
CHANNELS = Union((Channel((Blocks(3), Fisher(2)), 2.0), Channel((Blocks(2), VisualWords(4)))))
AT = RunPosition()


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a small tree, next to the plugin with the part `blocks`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path / "store"))
    (tmp_path / "plugins").mkdir()
    shutil.copy(str(plugin.__file__), tmp_path / "plugins" / "parts.py")
    return tree(tmp_path / "photos", 10)


def fitting(*parts: Any, **choices: Any) -> Fitting:
    return Fitting("mine", parts or PARTS, "photos", sample=3000, **choices)


def with_plugin(config: Fitting) -> Fitting:
    """Return the config with the classes of the plugin's file, which is another module than the one of the tests."""
    found: Fitting = from_json(Fitting, to_json(config), "", kind_tables(open_context(plugins="plugins")))
    return found


def fit(config: Fitting, out: str = "run", **choices: Any) -> list[Event]:
    return list(imclass.train(with_plugin(config), out, plugins="plugins", **choices))


def tensors(out: str = "run") -> dict[str, torch.Tensor]:
    return read_model(Path(out) / "model.safetensors")[0]


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_run_has_its_events_scores_and_model(photos: Path) -> None:
    events = fit(fitting())
    tasks = list(dict.fromkeys(event.task for event in events if isinstance(event, TaskProgress)))
    assert tasks == ["sample descriptors", "fit pca", "fit fisher", "encode train", "encode test", "fit logistic"]
    assert [e.part for e in events if isinstance(e, PartFitted) and not e.stored] == ["pca", "fisher", "logistic"]
    *_, scored, end = events
    assert (
        isinstance(scored, Evaluated)
        and isinstance(end, LegEnd)
        and end.path == Path("run/model.safetensors").absolute()
    )
    saved = read_scores(Path("run/scores/test.npz"))
    assert np.array_equal(saved.evaluation.scores, scored.result.scores)
    found = tensors()
    assert found["3.means_"].shape == (3, 2) and found["4.weights_"].shape == (2, 3 * 2 * 3 * 2)
    record = json.loads(Path("run/config.json").read_text())
    assert record["fitting"]["parts"][0] == {"kind": "blocks", "side": 3} and record["counts"]["train"] == [8, 8]
    assert fit(fitting()) == []  # it is finished


def test_the_model_is_evaluated_and_used_like_any_other(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(fitting())
    classifier = imclass.load("run", plugins="plugins")
    (prediction,) = imclass.predict(classifier, "photos/dog/000.png")
    assert {name for name, _ in prediction.classes} == {"cat", "dog"}
    assert main(["evaluate", "run", "--plugins", "plugins", "--save-scores", "again.npz"]) == 0
    scores = read_scores(Path("again.npz")).evaluation.scores
    assert np.allclose(scores, read_scores(Path("run/scores/test.npz")).evaluation.scores, atol=1e-4)
    save_untrained(Path("n.safetensors"))
    both = ["run", "n.safetensors", "--data", "photos", "--plugins", "plugins", "--save", "both.safetensors"]
    assert main(["evaluate", *both]) == 0 and "wrote both.safetensors" in capsys.readouterr().err
    assert isinstance(imclass.load("both.safetensors", plugins="plugins"), Ensemble)


def kill_at(event: int) -> Callable[[Fitting, str], None]:
    """Return a function that fits, but ends at the event with this number, as if the process were killed."""

    def run(config: Fitting, out: str) -> None:
        events: Any = imclass.train(with_plugin(config), out, plugins="plugins")
        for _ in range(event):
            next(events, None)  # a later run has fewer events, because the store has more
        events.close()

    return run


@pytest.mark.parametrize("parts", [PARTS, (CHANNELS, Logistic((0.1,), folds=2))], ids=["chain", "union"])
def test_a_run_killed_at_any_event_resumes_with_the_same_bits(photos: Path, parts: Any) -> None:
    config = fitting(*parts)
    count = len(fit(config, "whole", store="other"))
    for event in range(1, count):
        kill_at(event)(config, "run")
    fit(config)
    assert_same(tensors(), tensors("whole"))


def test_the_number_of_workers_changes_nothing(photos: Path) -> None:
    fit(fitting(), "one", store="one-store", workers=0)
    fit(fitting(), "two", store="two-store", workers=3)
    assert_same(tensors("one"), tensors("two"))


def test_a_changed_classifier_uses_what_the_store_has(photos: Path) -> None:
    fit(fitting())
    events = fit(fitting(*PARTS[:-1], Logistic((0.5,), folds=2)), "other")
    assert [e.part for e in events if isinstance(e, PartFitted) and not e.stored] == ["logistic"]
    assert {e.computed for e in events if isinstance(e, TaskProgress) and e.unit == "images"} == {0}
    again = fit(fitting(Blocks(3), Pca(2), Pyramid(("1x1",)), *PARTS[3:]), "another")
    assert [e.part for e in again if isinstance(e, PartFitted) and e.stored] == ["pca"]  # the part before the change


def test_new_images_change_what_is_learned(photos: Path) -> None:
    fit(fitting())
    tree(photos, 12)
    fit(fitting(), "more")
    assert not torch.equal(tensors()["1.components_"], tensors("more")["1.components_"])


def test_a_damaged_image_is_left_out(photos: Path) -> None:
    victim = photos / "cat" / "003.png"
    victim.write_bytes(victim.read_bytes()[:60])
    events = fit(fitting(split_seed=1))
    refused = {r.path for e in events if isinstance(e, TaskProgress) for r in e.refused}
    ends = [e for e in events if isinstance(e, Evaluated)]
    assert any("003.png" in path for path in refused | {r.path for e in ends for r in e.result.refused})
    with pytest.raises(UserError, match=r"003.png.*; fix or remove the file, or drop --strict"):
        fit(fitting(split_seed=1), "strict", strict=True)


def test_a_finished_run_refuses_another_config(photos: Path) -> None:
    fit(fitting())
    with pytest.raises(UserError, match=r"parts.fisher.words: 3 before, 4 now"):
        fit(fitting(*PARTS[:3], Fisher(4), PARTS[4]))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            (Blocks(), Logistic()),
            "blocks gives descriptors, but logistic, .* takes rows; put an encoder",
        ),
        ((Blocks(), Fisher(500), Logistic()), "fewer than"),
        ((Fisher(), Logistic()), "the part fisher comes first, but takes descriptors and not images"),
    ],
)
def test_parts_that_do_not_fit_are_refused(photos: Path, parts: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit(fitting(*parts))


def test_options_that_need_a_network_are_refused(photos: Path) -> None:
    save_untrained(Path("n.safetensors"))
    with pytest.raises(UserError, match=r"--init n.safetensors is not used: none of the parts"):
        fit(fitting(init="n.safetensors"))
    check_fit_options("mine", find_rate=False)
    with pytest.raises(UserError, match="--find-rate"):
        check_fit_options("mine", find_rate=True)
    with pytest.raises(UserError, match="--style"):
        check_fit_options("mine", find_rate=False, style="book-2016")


def test_the_progress_says_what_is_done_and_what_is_left() -> None:
    event = TaskProgress(AT, "encode train", 30, 50, "images", 10, 2.0)
    assert task_text(event) == "encode train: 30 of 50 images  5.0 images/s  left 0:00:04"
    assert task_text(TaskProgress(AT, "fit pca", 0, 2, "steps", 0, 0.0)) == "fit pca: 0 of 2 steps"
    done = TaskProgress(AT, "encode train", 50, 50, "images", 10, 2.0)
    assert finished_text(done) == "encode train: 50 images (40 of them in the store) in 2.0 s, 5.0 images/s"
    assert (
        finished_text(TaskProgress(AT, "encode test", 9, 9, "images", 0, 0.0))
        == "encode test: 9 images, all in the store"
    )
    assert (
        part_text(PartFitted(AT, "linear-svm", 3.0, False, {"strength": 0.01}))
        == "fit linear-svm in 3.0 s: strength 0.01"
    )
    assert part_text(PartFitted(AT, "pca", 0.0, True, {})) == "fit pca from the store"


def test_a_pipeline_is_fitted_from_the_command_line(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("fit.json").write_text(json.dumps({"fitting": to_json(fitting(*WORDS))}))
    words = ["train", "--config", "fit.json", "--plugins", "plugins", "--parts.words.words", "5", "--json"]
    assert main(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["metrics"]["test"]["top1"] == 1 and tensors("runs/mine")["2.centres_"].shape == (5, 3)


def test_a_dry_run_prints_the_config_and_writes_nothing(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("fit.json").write_text(json.dumps({"fitting": to_json(fitting())}))
    assert main(["train", "--config", "fit.json", "--plugins", "plugins", "--dry-run", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["images"] == {"train": 16, "test": 4} and record["fitting"]["parts"][0]["kind"] == "blocks"
    assert not Path("runs").exists() and not Path("store/learned").exists()


def test_a_run_is_listed_and_has_a_report(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("fit.json").write_text(json.dumps({"fitting": to_json(fitting())}))
    assert main(["train", "--config", "fit.json", "--plugins", "plugins"]) == 0
    shown = capsys.readouterr().err
    assert "not written" not in shown and "failed" not in shown
    page = Path("runs/mine/report.html").read_text()
    assert "blocks + pca + pyramid + fisher + logistic" in page and "encode train" in page and "Learning" not in page
    assert "What it looks at" in page and page.count("visual word") >= 2
    Path("runs/mine/report.html").unlink()
    shutil.rmtree("photos")  # the report needs only the run's folder
    assert main(["report", "runs/mine", "--plugins", "plugins"]) == 0 and Path("runs/mine/report.html").is_file()
    capsys.readouterr()
    assert main(["runs", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert row["state"] == "finished" and row["results"]["test"]["top1"] >= 0


def test_a_changed_plugin_in_a_channel_uses_nothing_that_the_store_has(photos: Path) -> None:
    parts = (CHANNELS, Logistic((0.1,), folds=2))
    fit(fitting(*parts))
    with Path("plugins/parts.py").open("a") as file:
        file.write("# changed\n")
    events = fit(fitting(*parts), "changed")
    assert not any(event.stored for event in events if isinstance(event, PartFitted))


def test_every_copy_of_a_damaged_file_is_listed(photos: Path) -> None:
    for i in range(4):
        (photos / "cat" / f"empty-{i}.png").write_bytes(b"")
        (photos / "cat" / f"gone-{i}.png").symlink_to("nowhere.png")
    events = fit(fitting())
    refused = {Path(r.path).name for e in events if isinstance(e, TaskProgress) for r in e.refused}
    assert refused == {f"{kind}-{i}.png" for kind in ("empty", "gone") for i in range(4)}
    (scored,) = (event for event in events if isinstance(event, Evaluated))
    assert len(scored.result.refused) + len(scored.result.targets) == scored.result.total


def test_a_model_with_the_same_weights_and_another_preprocess_has_other_rows(photos: Path) -> None:
    classifier = save_untrained(Path("a.safetensors"))
    replace(classifier, preprocess=replace(classifier.preprocess, resize="shorter", scale=40)).save(
        Path("b.safetensors")
    )
    parts = (NetworkFeatures(), Logistic((1.0,), folds=2))
    for name in ("a", "b"):
        fit(fitting(*parts, init=f"{name}.safetensors"), name)
    assert not torch.equal(tensors("a")["1.weights_"], tensors("b")["1.weights_"])


def test_a_class_with_one_training_image_is_refused_before_anything_is_computed(photos: Path) -> None:
    tree(photos, 2, ("cow", "emu", "fox"))
    with pytest.raises(UserError, match=r"fewer than 2 training images of 'cow'.* The part logistic needs at least 2"):
        fit(fitting())
    assert not Path("store/learned").exists()
