"""Averages of weights: compared with plain loops, resumed with the same bits, scored, chosen and passed on."""

import copy
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from imclass.app.api import train
from imclass.app.cli.main import main
from imclass.app.draw import curves
from imclass.app.load import load_network
from imclass.app.runs.directory import Run
from imclass.app.runs.train import prepare
from imclass.core.config import Average, CrossEntropy, Model, Stage, Training
from imclass.core.model_file import read_model, tensors_digest, without_prefix
from imclass.core.preprocess import Preprocess
from imclass.data.augment.cutmix import CutMix
from imclass.data.augment.flip import Flip
from imclass.data.augment.mixup import Mixup
from imclass.evaluation.score import evaluate
from imclass.models.classifier import load_network_classifier
from imclass.store.context import Context, open_context
from imclass.store.store import Store
from imclass.training.averages.ema import ExponentialAverage
from imclass.training.averages.polyak import Polyak
from imclass.training.averages.swa import StochasticAverage
from imclass.training.averaging import AveragedWeights
from imclass.training.checkpoint import Checkpoints, load_checkpoint
from imclass.training.events import Evaluated, NonFinite, Saved, StepEnd
from imclass.training.keeper import Keeper
from imclass.training.loop import step, train_epochs
from imclass.training.loop import train as train_legs
from imclass.training.objective import Learner
from imclass.training.optimisers.sgd import SGD
from imclass.training.parallel import SingleProcess, sum_blocks
from imclass.training.plan import Leg
from imclass.training.schedules.constant import Constant
from imclass.training.state import State
from tests.support.legs import enter_leg, leg_of, noise
from tests.support.small import provenance, tree
from tests.support.tolerance import assert_near

LENET = Model("lenet-5")
NARROW = Model("vgg-bn-drop", {"widths": (8, 8, 8, 8, 8), "hidden": 8})
BATCHES = 5  # an epoch of `leg_for`


def leg_for(average: Average | None, epochs: int = 4, model: Model = LENET, **changes: Any) -> Leg:
    side = 28 if model is LENET else 32
    data = noise(8 * BATCHES, side, 1 if model is LENET else 3)
    return leg_of(data, model, side, "grey" if model is LENET else "rgb", average=average, epochs=epochs, **changes)


def copies(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in tensors.items()}


def weights_of_steps(leg: Leg, folder: Path) -> Iterator[tuple[dict[str, np.ndarray], State]]:
    """Train a leg, and yield the weights in training after each step, and the state."""
    state = enter_leg(leg)
    keeper = Keeper(folder, 1, Checkpoints(folder / "checkpoints"))
    for event in train_epochs(leg, state, SingleProcess(), keeper):
        if isinstance(event, StepEnd):
            yield copies(state.learner.network.state_dict()), state


def plain_average(average: Average, weights: list[np.ndarray], steps: int) -> np.ndarray | None:
    """Return the average of the weights after each step so far, from its definition; None: there is none yet."""
    now = len(weights)
    if isinstance(average, ExponentialAverage):
        factors = [average.decay ** (now - s) for s in range(1, now + 1)]
    elif isinstance(average, Polyak):
        factors = [float(s > average.start * steps) for s in range(1, now + 1)]
    else:
        start = average.start if isinstance(average, StochasticAverage) else 1.0
        factors = [float(s % BATCHES == 0 and s > start * steps) for s in range(1, now + 1)]
    if not sum(factors):
        return None
    return np.einsum("s,s...->...", factors, np.stack(weights).astype(np.float64)) / sum(factors)


@pytest.mark.parametrize(
    "average",
    [ExponentialAverage(0.8), ExponentialAverage(0.0), Polyak(0.5), Polyak(0.93), StochasticAverage(0.5)],
    ids=str,
)
def test_an_average_equals_a_plain_loop_over_the_steps(average: Average, tmp_path: Path) -> None:
    """Compare after each step. Within an epoch, the average of the ends of epochs stays as it was."""
    leg, seen, begun = leg_for(average), list[dict[str, np.ndarray]](), 0
    for weights, state in weights_of_steps(leg, tmp_path):
        seen.append(weights)
        expected = {name: plain_average(average, [w[name] for w in seen], leg.steps) for name in weights}
        assert all((value is None) == (state.average is None) for value in expected.values())
        if state.average is not None:
            begun += 1
            for name, value in expected.items():
                assert_near(state.average.tensors[name], value, within=1e-5)
    late = {"ema": 0, "polyak": int(20 * getattr(average, "start", 0)), "swa": 14}[average.kind]
    assert len(seen) == leg.steps == 20 and begun == 20 - late
    apart = np.abs(expected["head.7.weight"] - weights["head.7.weight"]).max()
    assert (apart > 1e-4) == (average != ExponentialAverage(0.0))


def test_ema_has_no_bias_towards_the_first_weights() -> None:
    """Check that with a decay near 1 the average of a few steps is their mean, and not where the recursion began."""
    ema, average = ExponentialAverage(0.9999), 100.0
    for done, weight in enumerate((1.0, 2.0, 3.0), 1):
        average += ema.weight_after(done, 10, 5) * (weight - average)
    assert average == pytest.approx(2, rel=1e-3)
    assert ema.weight_after(1, 10, 5) == 1.0
    assert ema.weight_after(10**7, 10**8, 5) == pytest.approx(1e-4)


def test_some_step_or_epoch_is_averaged_whatever_the_start() -> None:
    for start, epochs in itertools.product((0.0, 0.5, 0.75, 0.99), (1, 2, 3, 7)):
        for average in (Polyak(start), StochasticAverage(start)):
            assert average.weight_after(epochs * BATCHES, epochs * BATCHES, BATCHES) > 0


def test_batch_norms_are_measured_by_a_pass_over_the_training_images(tmp_path: Path) -> None:
    """Compare with a plain loop over the epoch's batches: means of each batch, weighted by its images."""
    leg = leg_for(StochasticAverage(0.5), epochs=2, model=NARROW, augment=(Flip(),), batch=12)
    (*_, (_, state)) = weights_of_steps(leg, tmp_path)
    assert leg.measures_norms and state.average is not None
    network = state.average.classifier.network
    for layer in state.average.norms:
        layer.reset_running_stats()
    before = copies(network.state_dict())
    assert state.average.measure_norms(leg, 1, SingleProcess(), lambda: None)
    found = copies(network.state_dict())
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, _BatchNorm)}
    network.load_state_dict({name: torch.from_numpy(value) for name, value in before.items()})
    sums: dict[str, Tensor] = {}
    for batch in leg.loader.batches(1):
        for layer in layers.values():
            layer.train()
            layer.momentum = 1.0
        with torch.no_grad():
            network(batch.parts[0].images)
        for name, layer in layers.items():
            for key in ("running_mean", "running_var"):
                value = len(batch) / 40 * layer.get_buffer(key)
                sums[f"{name}.{key}"] = sums.get(f"{name}.{key}", torch.zeros_like(value)) + value
    assert len(sums) == 2 * len(layers) > 4
    for name, after in found.items():
        if name in sums:
            assert_near(after, sums[name].numpy())
            assert not np.allclose(after, before[name], rtol=1e-3)
        else:
            assert np.array_equal(after, before[name])  # neither weights nor counts change


class Half:
    """One of two processes, here threads, which exchange values."""

    def __init__(self, number: int, barrier: Barrier, board: dict[int, Any]) -> None:
        self.number, self.barrier, self.board = number, barrier, board

    def exchange(self, value: Any) -> list[Any]:
        self.board[self.number] = value
        self.barrier.wait()
        both = [copy.deepcopy(self.board[n]) for n in (0, 1)]
        self.barrier.wait()
        return both

    def local_parts(self, parts: int) -> range:
        return range(parts // 2) if self.number == 0 else range(parts // 2, parts)

    def total(self, count: int) -> int:
        return int(sum(self.exchange(count)))

    def combine(self, folded: Any) -> Any:
        first, second = self.exchange(folded)
        return sum_blocks(first | second)

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        return tuple(map(any, zip(*self.exchange(flags), strict=True)))


@pytest.mark.slow
def test_two_processes_measure_the_same_bits_as_one() -> None:
    leg = leg_for(StochasticAverage(0.0), model=NARROW, micro_batches=3, augment=(Flip(), Mixup()))
    one, *others = (AveragedWeights(enter_leg(leg).learner) for _ in range(3))
    one.measure_norms(leg, 0, SingleProcess(), lambda: None)
    barrier, board = Barrier(2), dict[int, Any]()
    with ThreadPoolExecutor(2) as pool:
        halves = [Half(n, barrier, board) for n in (0, 1)]
        work = [pool.submit(a.measure_norms, leg, 0, h, lambda: None) for a, h in zip(others, halves, strict=True)]
        assert all(each.result(60) for each in work)
    assert tensors_digest(one.tensors) == tensors_digest(others[0].tensors) == tensors_digest(others[1].tensors)
    fresh = AveragedWeights(enter_leg(leg).learner)
    assert tensors_digest(fresh.tensors) != tensors_digest(one.tensors)


def test_frozen_layers_keep_weights_and_statistics(tmp_path: Path) -> None:
    leg = leg_for(StochasticAverage(0.0), epochs=1, model=NARROW, rates={"features": 0.0})
    start = copies(enter_leg(leg).learner.network.state_dict())
    (*_, (_, state)) = weights_of_steps(leg, tmp_path)
    assert state.average is not None and state.average.norms != state.average.classifier.network.modules()
    state.average.measure_norms(leg, 0, SingleProcess(), lambda: None)
    for name, value in state.average.tensors.items():
        assert np.array_equal(value.numpy(), start[name]) == (name.startswith("features") or name in ("mean", "std")), (
            name
        )


@pytest.fixture(autouse=True)
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no curves, which take as long as the training and have tests of their own."""
    monkeypatch.setattr(curves, "curves_png", lambda history, path, parts: path.write_bytes(b""))


def config_of(folder: Path, average: Average | None, **changes: Any) -> Training:
    """Return a config of a narrow network with batch norm, dropout and mixing, for two epochs of two steps."""
    tree(folder / "pets", per_class=10, side=12)
    stage = Stage(
        epochs=2,
        batch=8,
        micro_batches=2,
        optimiser=SGD(),
        schedule=Constant(rate=0.02),
        objective=CrossEntropy(smoothing=0.1),
        augment=(Flip(), Mixup(), CutMix()),
        average=average,
    )
    of_run = {k: v for k, v in changes.items() if k in Training.__dataclass_fields__}
    stage = replace(stage, **{k: v for k, v in changes.items() if k not in of_run})
    base = Training("test", NARROW, (stage,), Preprocess(32, "rgb", "squash"), str(folder / "pets"))
    return replace(base, **of_run)


def run(config: Training, out: Path, **execution: Any) -> str:
    for _ in train(config, out, **execution):
        pass
    return tensors_digest(read_model(out / "model.safetensors")[0])


def stop_after(config: Training, out: Path, saves: int) -> None:
    """Train until this number of checkpoints is saved, one after each step, then stop iterating."""
    events = (event for event in train(config, out, save_every=0) if isinstance(event, Saved))
    for _ in itertools.islice(events, saves):
        pass


@pytest.mark.parametrize(
    ("average", "stops"),
    [
        pytest.param(ExponentialAverage(0.7), (1,), id="ema"),
        pytest.param(StochasticAverage(0.0), (2,), id="swa", marks=pytest.mark.slow),
        pytest.param(ExponentialAverage(0.7), range(1, 7), id="ema-any", marks=pytest.mark.slow),
        pytest.param(StochasticAverage(0.5), range(1, 7), id="swa-any", marks=pytest.mark.slow),
        pytest.param(Polyak(0.5), range(1, 7), id="polyak-any", marks=pytest.mark.slow),
    ],
)
def test_resume_ends_with_the_same_bits(average: Average, stops: Iterable[int], tmp_path: Path) -> None:
    """Stop within an epoch, after its last step and, in the slow cases, after each save."""
    config = config_of(tmp_path, average)
    expected = run(config, tmp_path / "whole")
    for saves in stops:
        stop_after(config, tmp_path / f"{saves}", saves)
        assert run(config, tmp_path / f"{saves}") == expected


def without_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AveragedWeights, "restore", lambda self, tensors: None)


def with_a_new_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imclass.training.state.AVERAGE_PREFIX", "nothing.")


@pytest.mark.parametrize("sabotage", [without_average, with_a_new_average])
def test_each_guard_of_resume_is_needed(
    sabotage: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path, ExponentialAverage(0.7), model=LENET, preprocess=Preprocess(28, "rgb", "squash"))
    expected = run(config, tmp_path / "whole")
    stop_after(config, tmp_path / "run", 3)
    sabotage(monkeypatch)
    assert run(config, tmp_path / "run") != expected


def test_a_run_stopped_while_it_measures_batch_norms_saves_and_resumes(tmp_path: Path) -> None:
    config = config_of(tmp_path, StochasticAverage(0.0))
    expected = run(config, tmp_path / "whole")
    job = prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    asked = iter([False] * 3 + [True])  # after two steps, and in the second batch of the pass
    events = list(train_legs(job.state(), job.legs, SingleProcess(), job.keeper(lambda: next(asked))))
    assert isinstance(events[-1], Saved) and not any(isinstance(event, Evaluated) for event in events)
    assert events[-1].at.step == 2 and events[-1].at.batch == 2
    assert run(config, tmp_path / "run") == expected


@pytest.mark.parametrize("validation", [0.0, pytest.param(0.25, marks=pytest.mark.slow)])
def test_the_scores_and_the_kept_model_are_those_of_the_averaged_weights(validation: float, tmp_path: Path) -> None:
    """Score the model file again: the figures of the run are its figures. Without the average they are others."""
    config = config_of(tmp_path, ExponentialAverage(0.9), validation=validation)
    events = list(train(config, tmp_path / "run"))
    seen = [event for event in events if isinstance(event, Evaluated)]
    assert all(event.averaged for event in seen)
    known = provenance(tmp_path / "run")
    assert known.chosen.endswith(", ema average")
    model = load_network_classifier(tmp_path / "run")
    job = prepare(config, Run(tmp_path / "run"), Context(Store(tmp_path / "store")))
    for split, dataset in job.held_out.items():
        again = evaluate(model, dataset).measures["loss"]
        assert again == pytest.approx(known.metrics[split].measures["loss"], rel=1e-5)
    plain = list(train(replace(config, stages=(replace(config.stages[0], average=None),)), tmp_path / "plain"))
    losses = [[e.result.measures["loss"] for e in each if isinstance(e, Evaluated)] for each in (events, plain)]
    assert losses[0] != losses[1]
    steps = [[(e.main, e.correct) for e in each if isinstance(e, StepEnd)] for each in (events, plain)]
    assert steps[0] == steps[1]  # training itself is the same


def test_an_average_that_has_not_begun_leaves_the_scores_to_the_raw_weights(tmp_path: Path) -> None:
    config = config_of(tmp_path, StochasticAverage(0.5), epochs=3)
    job = prepare(config, Run(tmp_path / "note"), Context(Store(tmp_path / "store")), dry=True)
    (note,) = (note for note in job.notes if "average" in note)
    assert note.startswith("the swa average begins in epoch 2 of 3; the scores of earlier epochs are those of")
    impatient = replace(config, validation=0.25, stages=(replace(config.stages[0], patience=1),))
    notes = prepare(impatient, Run(tmp_path / "note"), Context(Store(tmp_path / "store")), dry=True).notes
    assert any(note.startswith("--patience 1 may end the stage before the swa average begins") for note in notes)
    events = list(train(config, tmp_path / "run"))
    assert [event.averaged for event in events if isinstance(event, Evaluated)] == [False, True, True]
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["averaged"] for line in log if line["event"] == "evaluated"] == [False, True, True]


def test_the_next_stage_begins_with_the_averaged_weights(tmp_path: Path) -> None:
    """Train the second stage at a rate that changes nothing: it keeps the first one's averaged weights."""
    first = config_of(tmp_path, ExponentialAverage(0.9), model=LENET, preprocess=Preprocess(28, "rgb", "squash"))
    still = replace(first.stages[0], name="still", epochs=1, average=None, schedule=Constant(rate=1e-30))
    run(replace(first, stages=(replace(first.stages[0], name="first"), still)), tmp_path / "run")
    one, two = (read_model(path)[0] for path in sorted((tmp_path / "run" / "legs").glob("*/model.safetensors")))
    assert tensors_digest(one) == tensors_digest(two)
    plain = replace(first.stages[0], average=None)
    assert run(replace(first, stages=(plain,)), tmp_path / "plain") != tensors_digest(one)


def test_a_checkpoint_stands_for_the_averaged_model(tmp_path: Path) -> None:
    config = config_of(tmp_path, ExponentialAverage(0.9))
    run(config, tmp_path / "run", keep_checkpoints=True)
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    tensors = load_checkpoint(newest).tensors
    found = load_network(str(newest), open_context()).network.state_dict()
    digest = tensors_digest(found)
    kept = load_network_classifier(tmp_path / "run").network.state_dict()
    assert digest == tensors_digest(without_prefix(tensors, "average.")) == tensors_digest(kept)
    assert digest != tensors_digest(without_prefix(tensors, "model."))


def test_a_skipped_step_counts_for_the_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the first step, whose loss is not finite: the average begins with the weights before it."""
    leg = replace(leg_for(Polyak(0.0), epochs=1), skip_nonfinite=True)
    state, losses = enter_leg(leg), iter([float("nan"), 1.0])
    real = Learner.loss

    def spoilt(self: Learner, *args: Any) -> Any:
        main, total = real(self, *args)
        factor = next(losses)
        return main * factor, total * factor

    monkeypatch.setattr(Learner, "loss", spoilt)
    start = copies(state.learner.network.state_dict())
    batches = leg.loader.batches(0)
    events = [step(leg, state, SingleProcess(), next(batches), 0.0) for _ in range(2)]
    assert isinstance(events[0], NonFinite) and isinstance(events[1], StepEnd) and state.average is not None
    after = copies(state.learner.network.state_dict())
    for name, value in state.average.tensors.items():
        assert_near(value, (start[name] + after[name]) / 2)


def test_options_choose_an_average_and_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets")
    words = ["train", "mnist-lenet", "--data", "pets", "--epochs", "2", "--batch", "8", "--out", "run"]
    for options, message in (
        ("--average.kind emma", "no average is named 'emma'; did you mean 'ema'?"),
        ("--average.decay .9", "--average.decay needs --average.kind as well; choose one of: ema, polyak, swa"),
        (
            "--average.kind swa --average.decay .9",
            "--average.decay belongs to the average kind ema, but the average of",
        ),
        ("--average.kind ema --average.decay 1", "--average.decay is 1.0; it must be at least 0 and below 1"),
        ("--augment mixup --micro-batches 5", "--batch is 8; it must be at least 10, twice --micro-batches"),
        ("--augment cutmix --objective.smoothing 1", "--objective.smoothing is 1.0; it must be at least 0 and below 1"),
    ):
        assert main([*words, *options.split()]) == 2
        why = capsys.readouterr().err
        assert message in why and "Traceback" not in why and not (tmp_path / "run").exists()
    options = "--average.kind ema --average.decay .9 --objective.smoothing .1 --augment.mixup.alpha .4"
    assert main([*words, *options.split()]) == 0
    (stage,) = json.loads((tmp_path / "run" / "config.json").read_text())["training"]["stages"]
    assert stage["average"] == {"kind": "ema", "decay": 0.9}
    assert stage["objective"] == {"kind": "cross-entropy", "smoothing": 0.1}
    assert stage["augment"] == [
        {"kind": "pad", "pixels": 2},
        {"kind": "mixup", "alpha": 0.4, "probability": 1.0},
    ]
    capsys.readouterr()
    assert main([*words, *options.split()[:2], "--average.decay", ".8"]) == 2
    assert "average.decay: 0.9 before, 0.8 now" in capsys.readouterr().err
