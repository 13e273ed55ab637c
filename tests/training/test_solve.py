"""Stages of kind solve: the layer that they write, the features that they store, and how they resume after a kill."""

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imclass.app.api import train
from imclass.app.runs.directory import Run
from imclass.app.runs.train import perform, prepare
from imclass.core.config import Execution, Model, Stage, Training
from imclass.core.errors import Interrupted, UserError
from imclass.core.model_file import read_model, tensors_digest
from imclass.core.preprocess import Preprocess
from imclass.data.catalog import open_split
from imclass.evaluation.score import evaluate
from imclass.models.classifier import NetworkClassifier, load_network_classifier
from imclass.models.views.batches import to_batch
from imclass.models.views.embedding import Embedding
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.solvers.logistic import LogisticSolver
from imclass.store.context import Context, open_context
from imclass.store.rows import Rows
from imclass.training import solve
from imclass.training.events import EpochEnd, EpochStart, Evaluated, Event, FeatureBatch, LegEnd, Saved, Solved
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.constant import Constant
from imclass.training.solve import FeatureTable
from imclass.training.state import State
from tests.support.small import provenance, tree
from tests.support.tolerance import assert_near

SOLVE = Stage(name="probe", kind="solve", solver=LogisticSolver())
DESCEND = Stage(name="all", batch=8, optimiser=SGD(), schedule=Constant(rate=0.001))
BATCH = 8  # views per batch in these tests


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write three classes of 15 images, of which a fifth is held out."""
    return tree(tmp_path / "photos", 15, ("cat", "dog", "emu"))


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return open_context(tmp_path / "store")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solve, "views_per_batch", lambda _: BATCH)


def config_of(photos: Path, *stages: Stage, **changes: Any) -> Training:
    model, view = Model("lenet-5", mean=(0.5,), std=(0.25,)), Preprocess(28, "rgb", "squash")
    return Training("test", model, stages or (SOLVE,), view, str(photos), device="cpu", **changes)


def run(config: Training, out: Path, context: Context, **execution: Any) -> list[Event]:
    job = prepare(config, Run(out), context, Execution(**{"workers": 0, "pictures": False, **execution}))
    return list(perform(job))


def digest(out: Path) -> str:
    return tensors_digest(read_model(out / "model.safetensors")[0])


def training_images(photos: Path, context: Context) -> tuple[list[np.ndarray], Any]:
    data = open_split(str(photos), "train", context)
    return [data[i] for i in range(len(data))], data.targets


def test_the_head_is_the_fitted_linear_model(photos: Path, tmp_path: Path, context: Context) -> None:
    """Compare with a fit to the features of the initial network, and check that no other layer changes."""
    events = run(config_of(photos), tmp_path / "run", context)
    written, before = load_network_classifier(tmp_path / "run"), prepare_first(photos, tmp_path, context)
    images, targets = training_images(photos, context)
    rows = Embedding(before)(images)
    fitted = Logistic().fit(rows, targets, 3)
    assert_near(written.classify(images), fitted.scores(rows).astype(np.float32), 1e-5)
    last = {f"head.{len(written.network.head) - 1}.{name}" for name in ("weight", "bias")}
    old, new = before.network.state_dict(), written.network.state_dict()
    assert {name for name in old if not torch.equal(old[name], new[name])} == last
    (solved,) = (event for event in events if isinstance(event, Solved))
    assert solved.images == 36 and solved.facts == fitted.facts() and solved.solver == "logistic"


@pytest.mark.parametrize("balance", ["weights", "sampler"])
def test_a_solver_weights_the_classes(balance: str, tmp_path: Path, context: Context) -> None:
    """Compare with a weighted fit. A run with a sampler gives the same bits, because a solver uses each image once."""
    photos = tree(tmp_path / "photos", 5, ("cat", "dog", "emu"))
    tree(photos, 20, ("cat",))
    config = config_of(photos, balance=balance, costs={"emu": 3.0})
    events = run(config, tmp_path / "run", context)
    first = prepare(config, Run(tmp_path / "dry"), context, dry=True).legs[0].make()
    images, targets = training_images(photos, context)
    rows = Embedding(first)(images)
    weights = np.array([24 / (3 * 16), 24 / (3 * 4), 3 * 24 / (3 * 4)])[targets.numpy()]
    fitted = Logistic().fit(rows, targets, 3, weights)
    written = load_network_classifier(tmp_path / "run")
    assert_near(written.classify(images), fitted.scores(rows).astype(np.float32), 1e-5)
    (solved,) = (event for event in events if isinstance(event, Solved))
    assert solved.facts == fitted.facts()


def prepare_first(photos: Path, tmp_path: Path, context: Context) -> NetworkClassifier:
    """Return the initial classifier of a run."""
    return prepare(config_of(photos), Run(tmp_path / "dry"), context, dry=True).legs[0].make()


def test_a_stage_that_is_solved_is_one_epoch(photos: Path, tmp_path: Path, context: Context) -> None:
    events = run(config_of(photos, validation=0.25), tmp_path / "run", context)
    kinds = [EpochStart, *[FeatureBatch] * 4, Solved, Evaluated, EpochEnd, Saved, Evaluated, LegEnd]
    assert [type(event) for event in events] == kinds
    batches = [event for event in events if isinstance(event, FeatureBatch)]
    assert [(event.done, event.images) for event in batches] == [(8, 8), (16, 8), (24, 8), (27, 3)]
    ended = next(event for event in events if isinstance(event, EpochEnd))
    assert (ended.images, ended.refused, ended.at.step) == (27, 0, 1) and ended.measures["top1"] > 0.5
    assert Run(tmp_path / "run").events()[-1]["metrics"]["test"]["total"] == 9


def test_a_1x1_convolution_is_written_as_well(photos: Path, tmp_path: Path, context: Context) -> None:
    """Average its output over space, which is linear, so the scores must equal those of the solver."""
    classifier = prepare_first(photos, tmp_path, context)
    network = classifier.network.eval()
    with torch.no_grad():
        maps = network.features(network.prepare(torch.zeros(1, 3, 28, 28)))
    head = torch.nn.Sequential(
        torch.nn.Conv2d(maps.shape[1], 3, 1), torch.nn.AvgPool2d(maps.shape[2], 1), torch.nn.Flatten()
    )
    network.head = head
    images, targets = training_images(photos, context)
    rows = Embedding(classifier)(images)
    solver = Logistic(grid=(0.1,)).fit(rows, targets, 3)
    solve.write_last_layer(classifier, solver.linear_model())
    assert_near(classifier.classify(images), solver.scores(rows).astype(np.float32), 1e-5)


def files_of_features(tmp_path: Path) -> list[Path]:
    """Return the store's files of features: those of the training images first, because they are the largest."""
    return sorted((tmp_path / "store" / "features").iterdir(), key=lambda file: -count_rows(file))


def count_rows(file: Path) -> int:
    with sqlite3.connect(file) as database:
        (count,) = database.execute("SELECT COUNT(*) FROM rows").fetchone()
    return int(count)


def test_a_missing_row_is_computed_again_with_the_same_bits(photos: Path, tmp_path: Path, context: Context) -> None:
    """Delete rows in the middle, which are then in another batch, at other positions."""
    run(config_of(photos), tmp_path / "one", context)
    file, _ = files_of_features(tmp_path)
    with sqlite3.connect(file) as database:
        kept = sorted(database.execute("SELECT * FROM rows"))
        database.executemany("DELETE FROM rows WHERE content = ?", [row[:1] for row in kept[3:6]])
    events = run(config_of(photos), tmp_path / "two", context)
    assert [event.images for event in events if isinstance(event, FeatureBatch)] == [3]
    with sqlite3.connect(file) as database:
        assert sorted(database.execute("SELECT * FROM rows")) == kept
    assert digest(tmp_path / "two") == digest(tmp_path / "one")


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Use two threads, with which the features of a network with fully connected layers depend on the batch size."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_the_bits_do_not_depend_on_what_the_store_has(
    photos: Path, tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let another run store the features of every second image, in other batches, with other images between them."""
    counts = set()

    def count_views(views: np.ndarray) -> torch.Tensor:
        counts.add(len(views))
        return to_batch(views)

    monkeypatch.setattr(solve, "to_batch", count_views)
    other = tree(tmp_path / "other", 5, ("cat", "dog", "emu"), side=14)
    for file in sorted(photos.rglob("*.png"))[::2]:
        shutil.copy(file, other / file.parent.name / f"z{file.name}")
    run(config_of(other), tmp_path / "before", context)
    events = run(config_of(photos), tmp_path / "after", context)
    computed = sum(event.images for event in events if isinstance(event, FeatureBatch))
    assert 15 < computed < 25 and counts == {BATCH}
    run(config_of(photos), tmp_path / "fresh", open_context(tmp_path / "empty"))
    assert digest(tmp_path / "after") == digest(tmp_path / "fresh")


def test_a_second_run_computes_no_features(photos: Path, tmp_path: Path, context: Context) -> None:
    """Change the seed as well, because the random last layer does not affect the features."""
    run(config_of(photos), tmp_path / "one", context)
    files = files_of_features(tmp_path)
    again = run(config_of(photos), tmp_path / "two", context, workers=2)
    assert not [event for event in again if isinstance(event, FeatureBatch)]
    assert digest(tmp_path / "two") == digest(tmp_path / "one")
    begun = run(config_of(photos, init=str(tmp_path / "one"), seed=5), tmp_path / "three", context)
    assert not [event for event in begun if isinstance(event, FeatureBatch)]
    assert files_of_features(tmp_path) == files
    assert digest(tmp_path / "three") == digest(tmp_path / "one")


def test_scored_images_are_embedded_once_and_scored_as_by_the_whole_network(
    photos: Path, tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refuse one of the scored images as well."""
    held_out = open_split(str(photos), "test", context)
    Path(photos / held_out.name(2)).write_bytes(b"damaged")
    events = run(config_of(photos, precision="bf16"), tmp_path / "one", context)
    (found,) = (event.result for event in events if isinstance(event, Evaluated))
    assert (len(found.scores), [r.path for r in found.refused]) == (8, [str(photos / held_out.name(2))])
    classifier = load_network_classifier(tmp_path / "one")
    expected = evaluate(classifier, held_out)
    assert_near(found.scores, expected.scores, 1e-5)
    assert np.array_equal(found.ids, expected.ids) and found.measures["top1"] == expected.measures["top1"]
    monkeypatch.setattr(FeatureTable, "features_of", None)  # a second run embeds no image
    again = run(config_of(photos, precision="bf16"), tmp_path / "two", context)
    (second,) = (event.result for event in again if isinstance(event, Evaluated))
    assert np.array_equal(second.scores, found.scores) and second.refused == found.refused


@pytest.mark.parametrize("change", ["weights", "preprocess", "precision", "limit"])
def test_a_new_key_computes_features_again(change: str, photos: Path, tmp_path: Path, context: Context) -> None:
    run(config_of(photos), tmp_path / "one", context)
    changes: dict[str, Any] = {
        "weights": {"seed": 1},
        "preprocess": {"preprocess": Preprocess(28, "rgb", "shorter", scale=32)},
        "precision": {"precision": "bf16"},
        "limit": {"max_megapixels": 1.0},
    }
    events = run(replace(config_of(photos), **changes[change]), tmp_path / "two", context)
    assert sum(event.images for event in events if isinstance(event, FeatureBatch)) == 36


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_threads_does_not_change_the_bits(workers: int, photos: Path, tmp_path: Path) -> None:
    for count in (0, workers):
        run(config_of(photos), tmp_path / f"run-{count}", open_context(tmp_path / f"store-{count}"), workers=count)
    assert digest(tmp_path / "run-0") == digest(tmp_path / f"run-{workers}")


def killer(times: int) -> Any:
    """Return a function that kills the process in the given call."""
    calls = iter(range(times - 1))

    def call(*_: Any) -> None:
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    return call


def kill_inside(place: str, calls: int, config: Training, out: Path, context: Context) -> None:
    """Train in a child process that kills itself.

    The place is in the features, in the solver, before the layer is written, between the legs, or in a step of the
    second leg.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and not (out / "model.safetensors").exists()
        return
    try:
        kill = killer(calls)
        if place == "features":
            write = Rows.write
            Rows.write = lambda self, rows: (kill(), write(self, rows))  # type: ignore[method-assign,assignment]
        elif place == "solver":
            fit = Logistic.fit
            Logistic.fit = lambda self, *args: (kill(), fit(self, *args))[1]  # type: ignore[method-assign,assignment]
        elif place == "layer":
            solve.write_last_layer = lambda *args: kill()
        elif place == "legs":
            enter = State.enter
            State.enter = lambda self, leg: (kill(), enter(self, leg))[1]  # type: ignore[method-assign,assignment]
        else:
            learn = State.step
            State.step = lambda self, *args: (kill(), learn(self, *args))[1]  # type: ignore[method-assign,assignment]
        run(config, out, context)
    finally:
        os._exit(1)


PLACES = [("features", 1), ("features", 3), ("solver", 1), ("layer", 1), ("legs", 2), ("steps", 6)]


@pytest.mark.parametrize(("place", "calls"), PLACES)
def test_a_run_that_was_killed_ends_with_the_same_bits(
    place: str, calls: int, photos: Path, tmp_path: Path, context: Context
) -> None:
    config = config_of(photos, SOLVE, replace(DESCEND, epochs=2, keep_start=True), validation=0.25)
    run(config, tmp_path / "whole", open_context(tmp_path / "other"))
    kill_inside(place, calls, config, tmp_path / "run", context)
    events = run(config, tmp_path / "run", context)
    batches = sum(isinstance(event, FeatureBatch) for event in events)
    assert batches == {"features": 5 - calls}.get(place, 0)
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")
    found, whole = (provenance(tmp_path / name) for name in ("run", "whole"))
    assert found.solved == whole.solved and found.chosen == whole.chosen


@pytest.mark.parametrize("after", [FeatureBatch, Solved, Evaluated])
def test_a_run_that_was_stopped_ends_with_the_same_bits(
    after: type, photos: Path, tmp_path: Path, context: Context
) -> None:
    """Press Ctrl-C in a second stage, when there is already a checkpoint."""
    config = config_of(photos, DESCEND, SOLVE, replace(DESCEND, name="more"))
    run(config, tmp_path / "whole", open_context(tmp_path / "other"))
    job = prepare(config, Run(tmp_path / "run"), context, Execution(workers=0, pictures=False))
    with pytest.raises(Interrupted, match="saved"):
        for event in perform(job):
            if isinstance(event, after) and event.at.stage == 1 and event.at.epoch == 1:  # type: ignore[attr-defined]
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.001)
    run(config, tmp_path / "run", context)
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


def test_a_first_signal_in_the_first_features_keeps_them(photos: Path, tmp_path: Path, context: Context) -> None:
    job = prepare(config_of(photos), Run(tmp_path / "run"), context, Execution(workers=2, pictures=False))
    with pytest.raises(Interrupted):
        for event in perform(job):
            if isinstance(event, FeatureBatch) and event.done == 16:
                signal.raise_signal(signal.SIGINT)
    events = run(config_of(photos), tmp_path / "run", context)
    assert [event.done for event in events if isinstance(event, FeatureBatch)] == [24, 32, 36]


def test_refused_images_are_listed_and_left_out(photos: Path, tmp_path: Path, context: Context) -> None:
    images = sorted((photos / "cat").iterdir())
    kept = {Path(photos / name) for name in names(photos, context)}
    torn = next(path for path in images if path in kept)
    torn.write_bytes(torn.read_bytes()[:40])
    events = run(config_of(photos), tmp_path / "run", context)
    refused = [one.path for event in events if isinstance(event, FeatureBatch) for one in event.refused]
    assert [Path(path).name for path in refused] == [torn.name]
    (solved,) = (event for event in events if isinstance(event, Solved))
    (ended,) = (event for event in events if isinstance(event, EpochEnd))
    assert (solved.images, ended.images, ended.refused) == (35, 35, 1)
    with pytest.raises(UserError, match="--strict"):
        run(config_of(photos), tmp_path / "strict", context, strict=True)


def names(photos: Path, context: Context) -> Iterator[str]:
    data = open_split(str(photos), "train", context)
    return map(data.name, range(len(data)))


def test_features_that_are_not_finite_are_refused(photos: Path, tmp_path: Path, context: Context) -> None:
    classifier = prepare_first(photos, tmp_path, context)
    with torch.no_grad():
        for parameter in classifier.network.parameters():
            parameter.mul_(1e20)
    classifier.save(tmp_path / "broken.safetensors")
    with pytest.raises(UserError, match=r"features of \S+\.png are not finite"):
        run(config_of(photos, init=str(tmp_path / "broken.safetensors")), tmp_path / "run", context)


def test_a_class_with_one_photo_is_refused_before_work_starts(tmp_path: Path, context: Context) -> None:
    photos = tree(tmp_path / "photos", 9)
    tree(photos, 1, ("emu",))
    with pytest.raises(UserError, match=r"has fewer than 2 training images of 'emu'. The solver logistic"):
        run(config_of(photos), tmp_path / "run", context)
    assert not (tmp_path / "run").exists()


def test_a_head_that_is_not_linear_is_refused_before_work_starts(
    photos: Path, tmp_path: Path, context: Context
) -> None:
    """Use network in network, in which a ReLU follows the last convolution."""
    config = replace(config_of(photos), model=Model("nin-cifar"), preprocess=Preprocess(32, "rgb", "squash"))
    with pytest.raises(UserError, match="the head of nin-cifar does not end in one fully connected layer"):
        run(config, tmp_path / "run", context)
    assert not (tmp_path / "run").exists()


def test_a_public_call_trains_it(photos: Path, tmp_path: Path) -> None:
    for _ in train(config_of(photos), tmp_path / "run", store=tmp_path / "store"):
        pass
    assert (tmp_path / "run" / "model.safetensors").is_file()
