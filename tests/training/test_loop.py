"""The loop: what it yields, what resumes, what is not finite; and that each guard of exact resume is needed."""

import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imclass.app.api import train
from imclass.app.draw import curves
from imclass.app.runs.directory import Run
from imclass.app.runs.train import perform, prepare
from imclass.core.config import Model, Position, Stage, Training
from imclass.core.errors import Interrupted, UserError
from imclass.core.model_file import read_model, tensors_digest
from imclass.core.preprocess import Preprocess
from imclass.core.runtime import Arithmetic
from imclass.data.augment.area import Area
from imclass.data.augment.flip import Flip
from imclass.data.augment.pad import Pad
from imclass.models.arithmetic import precision
from imclass.models.classifier import load_network_classifier
from imclass.store.context import Context
from imclass.store.store import Store
from imclass.training import optimiser_state
from imclass.training.checkpoint import Checkpoints
from imclass.training.events import EpochEnd, EpochStart, Evaluated, Event, LegEnd, NonFinite, Saved, StepEnd
from imclass.training.loop import train as train_legs
from imclass.training.objective import Gradients, Learner
from imclass.training.optimisers.adam import Adam
from imclass.training.optimisers.sgd import SGD
from imclass.training.parallel import SingleProcess
from imclass.training.schedules.constant import Constant
from imclass.training.schedules.cosine import Cosine
from imclass.training.schedules.discrete_exponential import DiscreteExponential
from imclass.training.schedules.plateau import Plateau
from imclass.training.state import State
from tests.support.small import provenance
from tests.support.tolerance import assert_near

STEPS = 6  # an epoch: 48 training images, 8 at a time


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 30 small images."""
    folder, generator = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    for name, base in (("dark", 40), ("light", 90)):
        (folder / name).mkdir()
        for i in range(30):
            Image.fromarray(generator.integers(base, base + 100, (30, 34, 3), dtype=np.uint8)).save(
                folder / name / f"{i}.png"
            )
    return folder


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no curves: they take as long as the training, and the app's tests look at them."""
    monkeypatch.setattr(curves, "curves_png", lambda history, path, parts: path.write_bytes(b""))


def configured(tree: Path, **changes: Any) -> Training:
    """LeNet with dropout, augmentation and two micro-batches, for two epochs."""
    stage = Stage(
        epochs=2,
        batch=8,
        micro_batches=2,
        optimiser=SGD(),
        schedule=Cosine(rate=0.02, warmup=2),
        augment=(Flip(), Pad(pixels=2)),
    )
    whole = {k: v for k, v in changes.items() if k in Training.__dataclass_fields__}
    stage = replace(stage, **{k: v for k, v in changes.items() if k not in whole})
    base = Training("test", Model("lenet-5", {"dropout": 0.5}), (stage,), Preprocess(28, "rgb", "squash"), str(tree))
    return replace(base, **whole)


def run(config: Training, out: Path, **execution: Any) -> str:
    """Train to the end; return the digest of the model."""
    for _ in train(config, out, **execution):
        pass
    return tensors_digest(read_model(out / "model.safetensors")[0])


def stopped(config: Training, out: Path, after: int, **execution: Any) -> None:
    """Train until so many checkpoints are saved, one after each step, then leave."""
    taken = (event for event in train(config, out, save_every=0, **execution) if isinstance(event, Saved))
    for _ in itertools.islice(taken, after):
        pass


# The others are slow; tests/app/runs/test_legs.py and test_kill.py go on with Adam.
FAST = (("sgd", 2048, 0),)
CASES = [
    pytest.param(
        *(optimiser, memory, workers),
        id=f"{optimiser}-{'memory' if memory else 'workers'}-{workers}",
        marks=[] if (optimiser, memory, workers) in FAST else pytest.mark.slow,
    )
    for optimiser in ("sgd", "adam")
    for memory, workers in ((2048, 0), (0, 0), (0, 2))
]


@pytest.mark.parametrize(("optimiser", "memory", "workers"), CASES)
def test_resume_ends_with_the_same_bits(tree: Path, tmp_path: Path, optimiser: Any, memory: int, workers: int) -> None:
    """Stopped at the first step, in the middle, at an epoch's last, after its evaluation, and early in the second."""
    config, how = (
        configured(tree, optimiser=SGD() if optimiser == "sgd" else Adam()),
        {"memory": memory, "workers": workers},
    )
    whole = run(config, tmp_path / "whole", **how)
    for after in (1, 3, STEPS, STEPS + 1, STEPS + 2):
        stopped(config, tmp_path / f"{after}", after, **how)
        assert not (tmp_path / f"{after}" / "model.safetensors").exists()
        assert run(config, tmp_path / f"{after}", **how) == whole
    assert run(replace(config, seed=1), tmp_path / "other", **how) != whole


def test_resume_in_bf16_ends_with_the_same_bits(tree: Path, tmp_path: Path) -> None:
    config = configured(tree, precision="bf16")
    whole = run(config, tmp_path / "whole")
    for after in (2, STEPS + 2):
        stopped(config, tmp_path / f"{after}", after)
        assert run(config, tmp_path / f"{after}") == whole
    assert run(replace(config, precision="fp32"), tmp_path / "fp32") != whole


def test_what_was_chosen_by_measurement_is_not_measured_again(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither after a checkpoint nor by a process that was killed before its first one."""
    bf16 = Arithmetic("bf16", "nhwc")
    monkeypatch.setattr(precision, "probe", lambda *a: (bf16, ()))
    config = configured(tree, precision="auto")
    prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    monkeypatch.setattr(precision, "probe", lambda *a: pytest.fail("measured again"))
    assert prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store"))).runtime.arithmetic == bf16
    stopped(config, tmp_path / "run", 2)
    assert prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store"))).runtime.arithmetic == bf16


@pytest.mark.parametrize("memory", [0, 2048])
def test_a_mean_image_is_that_of_the_training_images_and_is_kept(tree: Path, tmp_path: Path, memory: int) -> None:
    config = configured(tree, epochs=1)
    config = replace(config, model=replace(config.model, std=(1 / 255,), mean_image=True))
    run(config, tmp_path / "run", memory=memory)
    job = prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    data = job.legs[0].loader.dataset
    plain = sum(config.preprocess(data[i]).astype(float) for i in range(len(data))) / len(data) / 255
    mean = load_network_classifier(tmp_path / "run").network.mean
    assert_near(mean.numpy().transpose(1, 2, 0), plain)
    colour = np.round(255 * np.mean(plain, axis=(0, 1))).astype(int)
    assert job.legs[0].loader.fill.tolist() == colour.tolist()
    with pytest.raises(UserError, match="mean image of 28 x 28"):
        load_network_classifier(tmp_path / "run").network.dense(torch.zeros(1, 3, 60, 60))


def test_a_mean_colour_is_that_of_the_training_images(tree: Path, tmp_path: Path) -> None:
    config = configured(tree, epochs=1)
    config = replace(config, model=replace(config.model, mean_colour=True))
    run(config, tmp_path / "run")
    data = prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store"))).legs[0].loader.dataset
    plain = np.mean([config.preprocess(data[i]).mean((0, 1)) for i in range(len(data))], axis=0) / 255
    assert_near(load_network_classifier(tmp_path / "run").network.mean.flatten(), plain)
    with pytest.raises(UserError, match=r"mean-colour is true; it must be false where model.mean-image is true"):
        replace(config, model=replace(config.model, mean_image=True))


def test_facts_are_computed_once_and_read_back(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on reads them; what is not the file that it began with is refused."""
    config = configured(tree)
    config = replace(config, model=replace(config.model, mean_image=True))
    whole = run(config, tmp_path / "whole")
    stopped(config, tmp_path / "run", 3)
    monkeypatch.setattr("imclass.app.runs.train.facts_of", lambda *_: pytest.fail("computed again"))
    file = tmp_path / "run" / "facts.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-4] + b"\0\0\0\1")
    with pytest.raises(UserError, match="has changed since the run began"):
        train(config, tmp_path / "run")
    file.write_bytes(content)
    assert run(config, tmp_path / "run") == whole


def test_facts_are_computed_again_where_the_data_changed_before_there_was_work(tree: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tree, data)
    config = configured(data, epochs=1)
    config = replace(config, model=replace(config.model, mean_image=True))
    for _ in zip(train(config, tmp_path / "run"), range(1), strict=False):
        pass
    assert (tmp_path / "run" / "config.json").is_file() and not (tmp_path / "run" / "checkpoints").exists()
    for i in range(30):
        (data / "light" / f"{i}.png").write_bytes((tree / "dark" / f"{i}.png").read_bytes())
    again, fresh = (train(config, tmp_path / name) for name in ("run", "fresh"))
    assert [len(list(events)) > 0 for events in (again, fresh)] == [True, True]
    means = [load_network_classifier(tmp_path / name).network.mean for name in ("run", "fresh")]
    assert torch.equal(*means)


def test_worker_counts_train_the_same_bits(tree: Path, tmp_path: Path) -> None:
    crops = (Area(area=(0.3, 1.0)), Flip(), Pad(pixels=2))
    found = [run(configured(tree, augment=crops), tmp_path / str(w), workers=w, memory=0) for w in (0, 1, 2)]
    assert len(set(found)) == 1
    assert run(configured(tree, augment=(crops[0], crops[2])), tmp_path / "x", memory=0) != found[0]


def test_memory_and_workers_train_the_same_bits(tree: Path, tmp_path: Path) -> None:
    found = {run(configured(tree), tmp_path / str(memory), memory=memory) for memory in (0, 2048)}
    assert len(found) == 1


def without_reseeding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imclass.training.objective.reseed", lambda seed, device: None)


def without_position(monkeypatch: pytest.MonkeyPatch) -> None:
    real = State.restore

    def forgetful(self: State, checkpoint: Any) -> None:
        real(self, checkpoint)
        self.at = replace(self.at, batch=0)

    monkeypatch.setattr(State, "restore", forgetful)


def without_momentum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimiser_state, "restore_state", lambda network, optimiser, tensors: None)


def without_history(monkeypatch: pytest.MonkeyPatch) -> None:
    real = State.restore

    def forgetful(self: State, checkpoint: Any) -> None:
        real(self, checkpoint)
        self.at = replace(self.at, samples=0)

    monkeypatch.setattr(State, "restore", forgetful)


@pytest.mark.parametrize(
    "sabotage",
    [
        without_reseeding,
        without_position,
        pytest.param(without_momentum, marks=pytest.mark.slow),
        pytest.param(without_history, marks=pytest.mark.slow),
    ],
)
def test_each_guard_of_resume_is_needed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sabotage: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """With random state, position, momentum or samples left out the bits differ: the resume tests would turn red."""
    schedule = DiscreteExponential(rate=0.02, factor=0.5, every=20)
    config = configured(tree, schedule=schedule)
    whole = run(config, tmp_path / "whole")
    stopped(config, tmp_path / "kept", 3)
    assert run(config, tmp_path / "kept") == whole
    stopped(config, tmp_path / "broken", 3)
    sabotage(monkeypatch)
    assert run(config, tmp_path / "broken") != whole


def test_a_damaged_checkpoint_is_passed_over_and_the_end_is_the_same(tree: Path, tmp_path: Path) -> None:
    config = configured(tree)
    whole = run(config, tmp_path / "whole")
    stopped(config, tmp_path / "run", 4)
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    content = bytearray((newest / "tensors.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "tensors.safetensors").write_bytes(content)
    job = prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    assert newest.name in job.notes[-1] and job.checkpoint is not None and job.checkpoint.path.name < newest.name
    assert run(config, tmp_path / "run") == whole


def test_events_come_in_order_and_positions_count(tree: Path, tmp_path: Path) -> None:
    events = list(train(configured(tree), tmp_path / "run"))
    kinds = [type(e) for e in events]
    epoch = [EpochStart, *[StepEnd] * STEPS, Evaluated, EpochEnd, Saved]
    assert kinds == epoch * 2 + [LegEnd]
    assert [e.at.step for e in events if isinstance(e, StepEnd)] == list(range(1, 2 * STEPS + 1))
    assert [e.at.samples for e in events if isinstance(e, StepEnd)][-1] == 2 * 48
    last = events[-1]
    assert isinstance(last, LegEnd) and last.path == tmp_path / "run" / "model.safetensors"
    assert last.at == replace(events[-2].at, stage=1, samples=0) and last.chosen == "last step"
    ends = [e for e in events if isinstance(e, EpochEnd)]
    steps = [e for e in events if isinstance(e, StepEnd)][:STEPS]
    assert ends[0].images == 48 and ends[0].main == pytest.approx(sum(e.main * e.images for e in steps) / 48)
    assert ends[0].measures["top1"] == pytest.approx(sum(e.correct for e in steps) / 48)


def test_a_user_can_leave_the_loop_and_come_back(tree: Path, tmp_path: Path) -> None:
    config = configured(tree)
    whole = run(config, tmp_path / "whole")
    for event in train(config, tmp_path / "run"):
        if isinstance(event, EpochEnd):
            break
    assert run(config, tmp_path / "run") == whole


def test_each_epoch_sees_each_image_once(tree: Path, tmp_path: Path) -> None:
    job = prepare(configured(tree), Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    for epoch in (0, 1):
        ids = np.concatenate([part.ids for batch in job.legs[0].loader.batches(epoch) for part in batch.parts.values()])
        assert sorted(ids) == sorted(job.legs[0].loader.dataset.ids) and len(ids) == 48


@pytest.mark.slow
def test_stages_follow_each_other_and_resume(tree: Path, tmp_path: Path) -> None:
    config = configured(tree)
    second = replace(config.stages[0], epochs=1, batch=16, optimiser=Adam(), schedule=Constant(rate=1e-3))
    config = replace(config, stages=(config.stages[0], second))
    whole = run(config, tmp_path / "whole")
    for after in (2 * STEPS + 1, 2 * STEPS + 2, 2 * STEPS + 4):
        stopped(config, tmp_path / f"{after}", after)
        assert run(config, tmp_path / f"{after}") == whole
    events = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    rates = {e["stage"]: e["rate"] for e in events if e["event"] == "step_end"}
    assert rates[1] == 1e-3 and {e["stage"] for e in events} >= {0, 1}


def test_events_carry_the_main_loss_and_what_auxiliary_heads_add(tree: Path, tmp_path: Path) -> None:
    """The epoch's means are those of its steps; the held-out loss is comparable with the main one."""
    model = Model("googlenet", {"size": 79, "width": 0.125})
    config = configured(tree, model=model, preprocess=Preprocess(79, "rgb", "squash"), epochs=1, batch=16)
    events = list(train(config, tmp_path / "run"))
    steps = [event for event in events if isinstance(event, StepEnd)]
    (end,) = (event for event in events if isinstance(event, EpochEnd))
    assert all(step.total > step.main for step in steps)
    for key in ("main", "total"):
        mean = sum(getattr(step, key) * step.images for step in steps) / sum(step.images for step in steps)
        assert getattr(end, key) == pytest.approx(mean, rel=1e-9)
    assert end.main < 1 < end.total  # of two classes: each of three heads costs about ln 2


# Values that are not finite


def poisoned(monkeypatch: pytest.MonkeyPatch, site: str, at_step: int) -> None:
    """Plant an infinity in the loss, a gradient or, through the rate, a weight, in one step."""
    real, rate = Learner.part_gradients, Cosine.rate_at

    def part_gradients(self: Learner, given: Any, number: int, images: int, step: int, several: bool) -> Gradients:
        found = real(self, given, number, images, step, several)
        if step == at_step and number == 0:
            at = [id(p) for p in self.parameters].index(id(self.network.head[1].weight))
            value = found.values[at]
            assert value is not None
            value[0, 0] = {"gradient": math.nan, "weight": 1e10}.get(site, value[0, 0].item())
            found.total = math.inf if site == "loss" else found.total
        return found

    def steep(self: Cosine, position: Position) -> float:
        return 1e30 if position.step == at_step and site == "weight" else rate(self, position)

    monkeypatch.setattr(Learner, "part_gradients", part_gradients)
    monkeypatch.setattr(Cosine, "rate_at", steep)


SITES = [("loss", "the loss"), ("gradient", "gradient of head.1.weight"), ("weight", "model.head.1.weight")]


def finite(checkpoint: Path) -> bool:
    tensors = Checkpoints(checkpoint.parent).newest()[0]
    assert tensors is not None
    return all(bool(torch.isfinite(t).all()) for t in tensors.tensors.values() if t.is_floating_point())


@pytest.mark.parametrize(("site", "said"), SITES)
def test_not_finite_stops_names_the_images_and_is_never_saved(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, said: str
) -> None:
    poisoned(monkeypatch, site, at_step=4)
    config = configured(tree, optimiser=SGD(weight_decay=1.0))
    events = list(train(config, tmp_path / "run", save_every=0))
    last = events[-1]
    assert isinstance(last, NonFinite) and last.action == "stop" and last.at.step == 5
    assert last.what == said
    assert len(last.names) == 8 and all((tree / name).is_file() for name in last.names)
    saved = [e for e in events if isinstance(e, Saved)]
    assert [e.at.step for e in saved] == [1, 2, 3, 4] and all(finite(e.path) for e in saved[-2:])
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(("site", "said"), SITES)
def test_not_finite_is_skipped_where_asked(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, said: str
) -> None:
    poisoned(monkeypatch, site, at_step=4)
    config = configured(tree, nonfinite="skip", optimiser=SGD(weight_decay=1.0))
    events = list(train(config, tmp_path / "run"))
    skipped = [e for e in events if isinstance(e, NonFinite)]
    assert [e.action for e in skipped] == ["skip"] and skipped[0].at.step == 5
    steps = [e for e in events if isinstance(e, StepEnd)]
    assert len(steps) == 2 * STEPS - 1 and all(math.isfinite(e.main) for e in steps)
    tensors, _ = read_model(tmp_path / "run" / "model.safetensors")
    assert all(torch.isfinite(t).all() for t in tensors.values())


def test_a_skipped_step_leaves_everything_as_it_was(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and momenta after a skipped step are bit for bit those before it."""
    poisoned(monkeypatch, "weight", at_step=3)
    job = prepare(configured(tree, nonfinite="skip"), Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    state, digests = job.state(), []
    for event in itertools.islice(train_legs(state, job.legs, SingleProcess(), job.keeper()), 6):
        digests.append((type(event), tensors_digest(state.tensors())))
    kinds = [kind for kind, _ in digests]
    assert kinds.index(NonFinite) == 4
    assert digests[4][1] == digests[3][1] != digests[2][1]


def test_a_state_that_is_not_finite_is_refused_by_save(tree: Path, tmp_path: Path) -> None:
    job = prepare(configured(tree), Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    state = job.state()
    state.enter(job.legs[0])
    with torch.no_grad():
        dict(state.learner.network.named_parameters())["head.1.bias"][0] = math.nan
    event = job.keeper().save(job.legs[0], state)
    assert "head.1.bias is not finite" in event.problem and not event.path.exists()


def test_a_full_disk_is_said_and_training_goes_on(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tree)
    whole = run(config, tmp_path / "whole")
    real, calls = Checkpoints.save, iter(range(1000))

    def sometimes(self: Any, *args: Any) -> Path:
        if next(calls) in (1, 2, 3):
            raise OSError(28, "No space left on device")
        return real(self, *args)

    monkeypatch.setattr(Checkpoints, "save", sometimes)
    events = list(train(config, tmp_path / "run", save_every=0))
    problems = [e.problem for e in events if isinstance(e, Saved) and e.problem]
    assert len(problems) == 3 and "No space left" in problems[0]
    assert tensors_digest(read_model(tmp_path / "run" / "model.safetensors")[0]) == whole


# Splits, stopping, refusals


def with_validation(tree: Path, folder: Path) -> Path:
    for part, taken in (("train", range(20)), ("validation", range(20, 25)), ("test", range(25, 30))):
        for name in ("dark", "light"):
            (folder / part / name).mkdir(parents=True)
            for i in taken:
                (folder / part / name / f"{i}.png").write_bytes((tree / name / f"{i}.png").read_bytes())
    return folder


def test_validation_chooses_and_test_does_not(tree: Path, tmp_path: Path) -> None:
    data = with_validation(tree, tmp_path / "data")
    config = configured(data, epochs=4, schedule=Constant(rate=0.05))
    events = list(train(config, tmp_path / "run"))
    seen = [e for e in events if isinstance(e, Evaluated)]
    assert {e.split for e in seen} == {"validation", "test"} and not any(e.best for e in seen if e.split == "test")
    tops = [e.result.measures["top1"] for e in seen if e.split == "validation"]
    assert [e.best for e in seen if e.split == "validation"] == [
        t > max(tops[:i], default=-1) for i, t in enumerate(tops)
    ]
    known = provenance(tmp_path / "run")
    assert known.chosen.startswith("best on validation")
    assert known.metrics["validation"].measures["top1"] == max(tops)
    stopped(config, tmp_path / "again", 11)
    assert run(config, tmp_path / "again") == tensors_digest(read_model(tmp_path / "run" / "model.safetensors")[0])


def test_plateau_needs_a_validation_split(tree: Path, tmp_path: Path) -> None:
    config = configured(tree, schedule=Plateau(patience=1))
    with pytest.raises(UserError, match="needs a validation split"):
        train(config, tmp_path / "run")
    data = with_validation(tree, tmp_path / "data")
    config = configured(data, schedule=Plateau(rate=1e-6, patience=1), epochs=4)
    rates = {e.at.epoch: e.rate for e in train(config, tmp_path / "run2") if isinstance(e, StepEnd)}
    assert min(rates.values()) < 1e-6  # nothing improves at such a rate, so it fell


def test_asked_to_stop_saves_at_once(tree: Path, tmp_path: Path) -> None:
    config = configured(tree)
    whole = run(config, tmp_path / "whole")
    job = prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    asked = iter([False, False, True])
    events = list(train_legs(job.state(), job.legs, SingleProcess(), job.keeper(lambda: next(asked))))
    assert [type(e) for e in events] == [EpochStart, StepEnd, StepEnd, StepEnd, Saved]
    assert run(config, tmp_path / "run") == whole


def test_interrupted_is_raised_when_a_signal_came(tree: Path, tmp_path: Path) -> None:
    import os
    import signal

    with pytest.raises(Interrupted, match="saved"):
        for event in train(configured(tree), tmp_path / "run"):
            if isinstance(event, StepEnd) and event.at.step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # given back


def test_refused_images_shrink_their_batch_and_are_named(tree: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("dark", "light"):
        (data / name).mkdir(parents=True)
        for i in range(30):
            (data / name / f"{i}.png").write_bytes((tree / name / f"{i}.png").read_bytes())
    for i in range(5):
        (data / "dark" / f"bad{i}.jpg").write_text("not an image")
    for memory in (0, 2048):
        events: list[Event] = list(train(configured(data), tmp_path / f"run{memory}", memory=memory))
        named = {Path(r.path).name for e in events if isinstance(e, StepEnd) for r in e.refused}
        ends = [e for e in events if isinstance(e, EpochEnd)]
        training = len(
            prepare(configured(data), Run(tmp_path / "x"), Context(Store(tmp_path)), dry=True).legs[0].loader.dataset
        )
        assert (
            named and len(named) == ends[0].refused == ends[1].refused and ends[0].images + ends[0].refused == training
        )


def test_a_refused_image_is_an_error_where_strict(tree: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("dark", "light"):
        (data / name).mkdir(parents=True)
        for i in range(30):
            (data / name / f"{i}.png").write_bytes((tree / name / f"{i}.png").read_bytes())
    list(train(configured(data), tmp_path / "good", strict=True))
    for i in range(5):
        (data / "dark" / f"bad{i}.jpg").write_text("not an image")
    with pytest.raises(UserError, match=r"refused: .*bad\d.jpg.* or go without --strict"):
        list(train(configured(data), tmp_path / "run", strict=True))


def test_an_epoch_of_nothing_but_refused_images_does_not_crash(tree: Path, tmp_path: Path) -> None:
    data = shutil.copytree(tree, tmp_path / "data")
    begun = train(configured(data), tmp_path / "run")
    for file in data.rglob("*.png"):
        file.write_text("no image")
    with pytest.raises(UserError, match="nothing to evaluate"):
        list(begun)
    with pytest.raises(UserError, match="cannot be learned"):  # what is so before the first step is found then
        train(configured(data), tmp_path / "another")


def test_the_log_of_a_resumed_run_is_that_of_an_uninterrupted_one(tree: Path, tmp_path: Path) -> None:
    config = configured(tree)

    def log(name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        return [
            {k: v for k, v in e.items() if k not in ("seconds", "waited", "path")}
            for e in lines
            if e["event"] != "saved"
        ]

    run(config, tmp_path / "whole")
    for after in (1, STEPS + 1):
        stopped(config, tmp_path / f"{after}", after)
        run(config, tmp_path / f"{after}")
        assert log(f"{after}") == log("whole")


def test_consumers_see_each_event_once_and_are_closed(tree: Path, tmp_path: Path) -> None:
    class Watcher:
        def __init__(self) -> None:
            self.seen: list[Event] = []
            self.closed = 0

        def see(self, event: Event) -> None:
            self.seen.append(event)

        def close(self) -> None:
            self.closed += 1

    watcher = Watcher()
    job = prepare(configured(tree), Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    events: Iterator[Event] = perform(job, [watcher])
    assert list(events) == watcher.seen and watcher.closed == 1
