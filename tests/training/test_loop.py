"""The training loop: events, exact resume and the guards that it needs, values that are not finite, and stopping."""

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
from imclass.data.augment.colour_jitter import ColourJitter
from imclass.data.augment.erase import Erase
from imclass.data.augment.flip import Flip
from imclass.data.augment.pad import Pad
from imclass.data.augment.pca_colour import PcaColour
from imclass.data.augment.trivial import Trivial
from imclass.models.arithmetic import precision
from imclass.models.classifier import load_network_classifier
from imclass.store.context import Context
from imclass.store.store import Store
from imclass.training import optimiser_state
from imclass.training.checkpoint import Checkpoints
from imclass.training.events import EpochEnd, EpochStart, Evaluated, Event, LegEnd, NonFinite, Saved, StepEnd, StepStart
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
    """Make two classes of 30 small images."""
    folder, generator = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    for name, base in (("dark", 40), ("light", 90)):
        (folder / name).mkdir()
        for i in range(30):
            Image.fromarray(generator.integers(base, base + 100, (30, 34, 3), dtype=np.uint8)).save(
                folder / name / f"{i}.png"
            )
    return folder


@pytest.fixture(autouse=True)
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no curves, which take as long as the training and have tests of their own."""
    monkeypatch.setattr(curves, "curves_png", lambda history, path, parts: path.write_bytes(b""))


def make_config(tree: Path, **changes: Any) -> Training:
    """Return a config of LeNet with dropout, augmentation and two micro-batches, for two epochs."""
    stage = Stage(
        epochs=2,
        batch=8,
        micro_batches=2,
        optimiser=SGD(),
        schedule=Cosine(rate=0.02, warmup=2),
        augment=(Flip(), Pad(pixels=2)),
    )
    of_run = {k: v for k, v in changes.items() if k in Training.__dataclass_fields__}
    stage = replace(stage, **{k: v for k, v in changes.items() if k not in of_run})
    base = Training("test", Model("lenet-5", {"dropout": 0.5}), (stage,), Preprocess(28, "rgb", "squash"), str(tree))
    return replace(base, **of_run)


def run(config: Training, out: Path, **execution: Any) -> str:
    """Train to the end; return the digest of the model."""
    for _ in train(config, out, **execution):
        pass
    return tensors_digest(read_model(out / "model.safetensors")[0])


def stop_after(config: Training, out: Path, after: int, **execution: Any) -> None:
    """Train until this number of checkpoints is saved, one after each step, then stop iterating."""
    checkpoints = (event for event in train(config, out, save_every=0, **execution) if isinstance(event, Saved))
    for _ in itertools.islice(checkpoints, after):
        pass


# The other cases are slow. Adam is resumed in tests/app/runs/test_legs.py and test_kill.py.
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
    """Stop at the first step, in the middle and at the end of an epoch, after its evaluation, and soon after that."""
    config = make_config(tree, optimiser=SGD() if optimiser == "sgd" else Adam())
    execution = {"memory": memory, "workers": workers}
    expected = run(config, tmp_path / "uninterrupted", **execution)
    for after in (1, 3, STEPS, STEPS + 1, STEPS + 2):
        stop_after(config, tmp_path / f"{after}", after, **execution)
        assert not (tmp_path / f"{after}" / "model.safetensors").exists()
        assert run(config, tmp_path / f"{after}", **execution) == expected
    assert run(replace(config, seed=1), tmp_path / "other", **execution) != expected


def test_resume_in_bf16_ends_with_the_same_bits(tree: Path, tmp_path: Path) -> None:
    config = make_config(tree, precision="bf16")
    expected = run(config, tmp_path / "whole")
    for after in (2, STEPS + 2):
        stop_after(config, tmp_path / f"{after}", after)
        assert run(config, tmp_path / f"{after}") == expected
    assert run(replace(config, precision="fp32"), tmp_path / "fp32") != expected


def test_a_resumed_run_does_not_probe_again(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume after a checkpoint, and after a process that was killed before its first one."""
    bf16 = Arithmetic("bf16", "nhwc")
    monkeypatch.setattr(precision, "probe", lambda *a: (bf16, ()))
    config = make_config(tree, precision="auto")
    prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    monkeypatch.setattr(precision, "probe", lambda *a: pytest.fail("probed again"))
    assert prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store"))).runtime.arithmetic == bf16
    stop_after(config, tmp_path / "run", 2)
    assert prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store"))).runtime.arithmetic == bf16


@pytest.mark.parametrize("memory", [0, 2048])
def test_a_mean_image_is_that_of_the_training_images_and_is_kept(tree: Path, tmp_path: Path, memory: int) -> None:
    config = make_config(tree, epochs=1)
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
    config = make_config(tree, epochs=1)
    config = replace(config, model=replace(config.model, mean_colour=True))
    run(config, tmp_path / "run")
    data = prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store"))).legs[0].loader.dataset
    plain = np.mean([config.preprocess(data[i]).mean((0, 1)) for i in range(len(data))], axis=0) / 255
    assert_near(load_network_classifier(tmp_path / "run").network.mean.flatten(), plain)
    with pytest.raises(UserError, match=r"mean-colour is true; it must be false if model.mean-image is true"):
        replace(config, model=replace(config.model, mean_image=True))


def test_facts_are_computed_once_and_read_back(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read them on resume, and refuse a changed file."""
    config = make_config(tree, augment=(Flip(), PcaColour(), Trivial()))
    config = replace(config, model=replace(config.model, mean_image=True))
    expected = run(config, tmp_path / "whole")
    stop_after(config, tmp_path / "run", 3)
    monkeypatch.setattr("imclass.app.runs.train.facts_of", lambda *_: pytest.fail("computed again"))
    file = tmp_path / "run" / "facts.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-4] + b"\0\0\0\1")
    with pytest.raises(UserError, match="has changed since the run began"):
        train(config, tmp_path / "run")
    file.write_bytes(content)
    assert run(config, tmp_path / "run") == expected


def test_facts_are_computed_again_if_the_data_changed_before_the_first_step(tree: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tree, data)
    config = make_config(data, epochs=1)
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


def test_the_number_of_workers_changes_no_bits(tree: Path, tmp_path: Path) -> None:
    crops = (Area(area=(0.3, 1.0)), Flip(), Pad(pixels=2), PcaColour(), ColourJitter(), Trivial(), Erase())
    found = [run(make_config(tree, augment=crops), tmp_path / str(w), workers=w, memory=0) for w in (0, 1, 2)]
    assert len(set(found)) == 1
    assert run(make_config(tree, augment=(crops[0], crops[2])), tmp_path / "x", memory=0) != found[0]


def test_caching_in_memory_changes_no_bits(tree: Path, tmp_path: Path) -> None:
    config = make_config(tree, augment=(Flip(), Pad(pixels=2), PcaColour(), ColourJitter(), Trivial(), Erase()))
    found = {run(config, tmp_path / str(memory), memory=memory) for memory in (0, 2048)}
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
    """Check that resume without random state, position, momentum or samples gives other bits."""
    schedule = DiscreteExponential(rate=0.02, factor=0.5, every=20)
    config = make_config(tree, schedule=schedule)
    expected = run(config, tmp_path / "whole")
    stop_after(config, tmp_path / "kept", 3)
    assert run(config, tmp_path / "kept") == expected
    stop_after(config, tmp_path / "broken", 3)
    sabotage(monkeypatch)
    assert run(config, tmp_path / "broken") != expected


def test_a_damaged_checkpoint_is_skipped_and_the_result_is_the_same(tree: Path, tmp_path: Path) -> None:
    config = make_config(tree)
    expected = run(config, tmp_path / "whole")
    stop_after(config, tmp_path / "run", 4)
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    content = bytearray((newest / "tensors.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "tensors.safetensors").write_bytes(content)
    job = prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    assert newest.name in job.notes[-1] and job.checkpoint is not None and job.checkpoint.path.name < newest.name
    assert run(config, tmp_path / "run") == expected


def test_events_come_in_order_with_their_positions(tree: Path, tmp_path: Path) -> None:
    events = list(train(make_config(tree), tmp_path / "run"))
    kinds = [type(e) for e in events]
    epoch = [EpochStart, *[StepStart, StepEnd] * STEPS, Evaluated, EpochEnd, Saved]
    assert kinds == epoch * 2 + [LegEnd]
    assert [e.at.step for e in events if isinstance(e, StepEnd)] == list(range(1, 2 * STEPS + 1))
    assert [e.at.samples for e in events if isinstance(e, StepEnd)][-1] == 2 * 48
    starts = [e for e in events if isinstance(e, StepStart)]
    assert [e.at.step for e in starts] == list(range(2 * STEPS))
    assert [e.at.batch for e in starts] == [*range(STEPS)] * 2
    assert [e.rate for e in starts] == [e.rate for e in events if isinstance(e, StepEnd)]
    last = events[-1]
    assert isinstance(last, LegEnd) and last.path == tmp_path / "run" / "model.safetensors"
    assert last.at == replace(events[-2].at, stage=1, samples=0) and last.chosen == "last step"
    ends = [e for e in events if isinstance(e, EpochEnd)]
    steps = [e for e in events if isinstance(e, StepEnd)][:STEPS]
    assert ends[0].images == 48 and ends[0].main == pytest.approx(sum(e.main * e.images for e in steps) / 48)
    assert ends[0].measures["top1"] == pytest.approx(sum(e.correct for e in steps) / 48)


def test_a_caller_can_stop_iterating_and_resume(tree: Path, tmp_path: Path) -> None:
    config = make_config(tree)
    expected = run(config, tmp_path / "whole")
    for event in train(config, tmp_path / "run"):
        if isinstance(event, EpochEnd):
            break
    assert run(config, tmp_path / "run") == expected


def test_each_epoch_sees_each_image_once(tree: Path, tmp_path: Path) -> None:
    job = prepare(make_config(tree), Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    for epoch in (0, 1):
        ids = np.concatenate([part.ids for batch in job.legs[0].loader.batches(epoch) for part in batch.parts.values()])
        assert sorted(ids) == sorted(job.legs[0].loader.dataset.ids) and len(ids) == 48


@pytest.mark.slow
def test_stages_follow_each_other_and_resume(tree: Path, tmp_path: Path) -> None:
    config = make_config(tree)
    second = replace(config.stages[0], epochs=1, batch=16, optimiser=Adam(), schedule=Constant(rate=1e-3))
    config = replace(config, stages=(config.stages[0], second))
    expected = run(config, tmp_path / "whole")
    for after in (2 * STEPS + 1, 2 * STEPS + 2, 2 * STEPS + 4):
        stop_after(config, tmp_path / f"{after}", after)
        assert run(config, tmp_path / f"{after}") == expected
    events = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    rates = {e["stage"]: e["rate"] for e in events if e["event"] == "step_end"}
    assert rates[1] == 1e-3 and {e["stage"] for e in events} >= {0, 1}


def test_events_carry_the_main_loss_and_the_total_with_auxiliary_heads(tree: Path, tmp_path: Path) -> None:
    """Check also that an epoch's means are those of its steps."""
    model = Model("googlenet", {"size": 79, "width": 0.125})
    config = make_config(tree, model=model, preprocess=Preprocess(79, "rgb", "squash"), epochs=1, batch=16)
    events = list(train(config, tmp_path / "run"))
    steps = [event for event in events if isinstance(event, StepEnd)]
    (end,) = (event for event in events if isinstance(event, EpochEnd))
    assert all(step.total > step.main for step in steps)
    for key in ("main", "total"):
        mean = sum(getattr(step, key) * step.images for step in steps) / sum(step.images for step in steps)
        assert getattr(end, key) == pytest.approx(mean, rel=1e-9)
    assert end.main < 1 < end.total  # for two classes, each of three heads has a loss of about ln 2


# Values that are not finite


def plant_nonfinite(monkeypatch: pytest.MonkeyPatch, site: str, at_step: int) -> None:
    """Make the loss, a gradient or, through the rate, a weight of one step not finite."""
    real, rate = Learner.part_gradients, Cosine.rate_at

    def part_gradients(self: Learner, part: Any, number: int, images: int, step: int, multipart: bool) -> Gradients:
        found = real(self, part, number, images, step, multipart)
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


def is_finite(checkpoint: Path) -> bool:
    tensors = Checkpoints(checkpoint.parent).newest()[0]
    assert tensors is not None
    return all(bool(torch.isfinite(t).all()) for t in tensors.tensors.values() if t.is_floating_point())


@pytest.mark.parametrize(("site", "what"), SITES)
def test_a_step_that_is_not_finite_stops_the_run_and_is_never_saved(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, what: str
) -> None:
    plant_nonfinite(monkeypatch, site, at_step=4)
    config = make_config(tree, optimiser=SGD(weight_decay=1.0))
    events = list(train(config, tmp_path / "run", save_every=0))
    last = events[-1]
    assert isinstance(last, NonFinite) and last.action == "stop" and last.at.step == 5
    assert last.what == what
    assert len(last.names) == 8 and all((tree / name).is_file() for name in last.names)
    saved = [e for e in events if isinstance(e, Saved)]
    assert [e.at.step for e in saved] == [1, 2, 3, 4] and all(is_finite(e.path) for e in saved[-2:])
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("site", [site for site, _ in SITES])
def test_a_step_that_is_not_finite_is_skipped_if_so_configured(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str
) -> None:
    plant_nonfinite(monkeypatch, site, at_step=4)
    config = make_config(tree, nonfinite="skip", optimiser=SGD(weight_decay=1.0))
    events = list(train(config, tmp_path / "run"))
    skipped = [e for e in events if isinstance(e, NonFinite)]
    assert [e.action for e in skipped] == ["skip"] and skipped[0].at.step == 5
    steps = [e for e in events if isinstance(e, StepEnd)]
    assert len(steps) == 2 * STEPS - 1 and all(math.isfinite(e.main) for e in steps)
    tensors, _ = read_model(tmp_path / "run" / "model.safetensors")
    assert all(torch.isfinite(t).all() for t in tensors.values())


def test_a_skipped_step_changes_no_weight_or_momentum(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_nonfinite(monkeypatch, "weight", at_step=3)
    job = prepare(make_config(tree, nonfinite="skip"), Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    state, digests = job.state(), []
    for event in itertools.islice(train_legs(state, job.legs, SingleProcess(), job.keeper()), 11):
        digests.append((type(event), tensors_digest(state.tensors())))
    kinds = [kind for kind, _ in digests]
    assert kinds.index(NonFinite) == 8
    assert digests[8][1] == digests[6][1] != digests[4][1]


def test_save_refuses_a_state_that_is_not_finite(tree: Path, tmp_path: Path) -> None:
    job = prepare(make_config(tree), Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    state = job.state()
    state.enter(job.legs[0])
    with torch.no_grad():
        dict(state.learner.network.named_parameters())["head.1.bias"][0] = math.nan
    event = job.keeper().save(job.legs[0], state)
    assert "head.1.bias is not finite" in event.problem and not event.path.exists()


@pytest.mark.parametrize(("save_steps", "steps"), [(0, [6, 12]), (4, [4, 6, 8, 12, 12])])
def test_checkpoints_follow_the_steps(tree: Path, tmp_path: Path, save_steps: int, steps: list[int]) -> None:
    events = train(make_config(tree), tmp_path / "run", save_steps=save_steps, save_every=1000)
    assert [event.at.step for event in events if isinstance(event, Saved)] == steps


def test_training_continues_on_a_full_disk(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(tree)
    expected = run(config, tmp_path / "whole")
    real, calls = Checkpoints.save, iter(range(1000))

    def sometimes(self: Any, *args: Any) -> Path:
        if next(calls) in (1, 2, 3):
            raise OSError(28, "No space left on device")
        return real(self, *args)

    monkeypatch.setattr(Checkpoints, "save", sometimes)
    events = list(train(config, tmp_path / "run", save_every=0))
    problems = [e.problem for e in events if isinstance(e, Saved) and e.problem]
    assert len(problems) == 3 and "No space left" in problems[0]
    assert tensors_digest(read_model(tmp_path / "run" / "model.safetensors")[0]) == expected


# Splits, stopping, refusals


def with_validation(tree: Path, folder: Path) -> Path:
    for part, numbers in (("train", range(20)), ("validation", range(20, 25)), ("test", range(25, 30))):
        for name in ("dark", "light"):
            (folder / part / name).mkdir(parents=True)
            for i in numbers:
                (folder / part / name / f"{i}.png").write_bytes((tree / name / f"{i}.png").read_bytes())
    return folder


def test_validation_chooses_and_test_does_not(tree: Path, tmp_path: Path) -> None:
    data = with_validation(tree, tmp_path / "data")
    config = make_config(data, epochs=4, schedule=Constant(rate=0.05))
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
    stop_after(config, tmp_path / "again", 11)
    assert run(config, tmp_path / "again") == tensors_digest(read_model(tmp_path / "run" / "model.safetensors")[0])


def test_plateau_needs_a_validation_split(tree: Path, tmp_path: Path) -> None:
    config = make_config(tree, schedule=Plateau(patience=1))
    with pytest.raises(UserError, match="needs a validation split"):
        train(config, tmp_path / "run")
    data = with_validation(tree, tmp_path / "data")
    config = make_config(data, schedule=Plateau(rate=1e-6, patience=1), epochs=4)
    rates = {e.at.epoch: e.rate for e in train(config, tmp_path / "run2") if isinstance(e, StepEnd)}
    assert min(rates.values()) < 1e-6  # nothing improves at such a rate, so it fell


def test_a_run_that_is_asked_to_stop_saves_at_once(tree: Path, tmp_path: Path) -> None:
    config = make_config(tree)
    expected = run(config, tmp_path / "whole")
    job = prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    asked = iter([False, False, True])
    events = list(train_legs(job.state(), job.legs, SingleProcess(), job.keeper(lambda: next(asked))))
    assert [type(e) for e in events] == [EpochStart, *[StepStart, StepEnd] * 3, Saved]
    assert run(config, tmp_path / "run") == expected


def test_a_signal_raises_interrupted(tree: Path, tmp_path: Path) -> None:
    import os
    import signal

    with pytest.raises(Interrupted, match="saved"):
        for event in train(make_config(tree), tmp_path / "run"):
            if isinstance(event, StepEnd) and event.at.step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # the handler is restored


def test_refused_images_shrink_their_batch_and_are_named(tree: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("dark", "light"):
        (data / name).mkdir(parents=True)
        for i in range(30):
            (data / name / f"{i}.png").write_bytes((tree / name / f"{i}.png").read_bytes())
    for i in range(5):
        (data / "dark" / f"bad{i}.jpg").write_text("not an image")
    for memory in (0, 2048):
        events: list[Event] = list(train(make_config(data), tmp_path / f"run{memory}", memory=memory))
        names = {Path(r.path).name for e in events if isinstance(e, StepEnd) for r in e.refused}
        ends = [e for e in events if isinstance(e, EpochEnd)]
        job = prepare(make_config(data), Run(tmp_path / "x"), Context(Store(tmp_path)), dry=True)
        assert names and len(names) == ends[0].refused == ends[1].refused
        assert ends[0].images + ends[0].refused == len(job.legs[0].loader.dataset)


def test_a_refused_image_is_an_error_if_strict(tree: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("dark", "light"):
        (data / name).mkdir(parents=True)
        for i in range(30):
            (data / name / f"{i}.png").write_bytes((tree / name / f"{i}.png").read_bytes())
    list(train(make_config(data), tmp_path / "good", strict=True))
    for i in range(5):
        (data / "dark" / f"bad{i}.jpg").write_text("not an image")
    with pytest.raises(UserError, match=r"refused: .*bad\d.jpg.* or drop --strict"):
        list(train(make_config(data), tmp_path / "run", strict=True))


def test_an_epoch_of_only_refused_images_is_a_user_error(tree: Path, tmp_path: Path) -> None:
    data = shutil.copytree(tree, tmp_path / "data")
    events = train(make_config(data), tmp_path / "run")
    for file in data.rglob("*.png"):
        file.write_text("no image")
    with pytest.raises(UserError, match="nothing to evaluate"):
        list(events)
    with pytest.raises(UserError, match="cannot be learned"):  # found before the first step
        train(make_config(data), tmp_path / "another")


def test_a_resumed_run_has_the_log_of_an_uninterrupted_one(tree: Path, tmp_path: Path) -> None:
    config = make_config(tree)

    def log(name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        return [
            {k: v for k, v in e.items() if k not in ("seconds", "waited", "path")}
            for e in lines
            if e["event"] != "saved"
        ]

    run(config, tmp_path / "whole")
    for after in (1, STEPS + 1):
        stop_after(config, tmp_path / f"{after}", after)
        run(config, tmp_path / f"{after}")
        assert log(f"{after}") == log("whole")


def test_consumers_see_each_event_once_and_are_closed(tree: Path, tmp_path: Path) -> None:
    class Watcher:
        def __init__(self) -> None:
            self.events: list[Event] = []
            self.closings = 0

        def see(self, event: Event) -> None:
            self.events.append(event)

        def close(self) -> None:
            self.closings += 1

    watcher = Watcher()
    job = prepare(make_config(tree), Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    events: Iterator[Event] = perform(job, [watcher])
    assert list(events) == watcher.events and watcher.closings == 1
