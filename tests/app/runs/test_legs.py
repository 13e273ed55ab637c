"""Runs of several legs: the weights that each begins with and keeps, its scores, and resuming."""

import json
import shlex
import textwrap
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor

from imclass.app.api import load, train
from imclass.app.cli.main import main
from imclass.app.load import load_network
from imclass.app.runs import train as runs
from imclass.core.config import Model, Stage, Training
from imclass.core.errors import UserError
from imclass.core.model_file import read_model
from imclass.core.preprocess import Preprocess
from imclass.models.classifier import NetworkClassifier
from imclass.store.context import open_context
from imclass.training.events import EpochEnd, Evaluated, LegEnd, Saved, StepEnd
from imclass.training.optimisers.adam import Adam
from imclass.training.optimisers.sgd import SGD
from imclass.training.plan import Leg
from imclass.training.schedules.constant import Constant
from imclass.training.state import State
from tests.support.small import digest, provenance, tree

SEVEN = [
    "features.conv1_1",
    "features.conv2_1",
    "features.conv3_1",
    "features.conv3_2",
    "head.fc6",
    "head.fc7",
    "head.fc8",
]
CHAIN = """
    from imclass.core.config import Model, Stage, Training
    from imclass.core.preprocess import Preprocess
    from imclass.training.optimisers.sgd import SGD
    from imclass.training.schedules.constant import Constant

    def chain() -> Training:
        row = {"size": 32, "widths": (8, 8, 8, 8, 8), "hidden": (32, 32)}
        shallow, deep = (Model(name, row, (0.4,), (0.3,), initialiser="he") for name in ("vgg-a", "vgg-d"))
        settings = {"epochs": 2, "batch": 8, "optimiser": SGD(), "schedule": Constant(rate=0.05)}
        second = Stage(name="deep", model=deep, begin="first-and-last", **settings)
        stages = (Stage(name="shallow", **settings), second)
        preprocess = Preprocess(size=32, resize="squash")
        return Training("chain", shallow, stages, preprocess, "photos", validation=0.25)

    RECIPES = {"chain": chain}
"""

Starts: TypeAlias = list[tuple[str, dict[str, Tensor]]]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    """Record the name of each leg and its weights as it begins."""
    found: Starts = []
    real = State.enter

    def enter(self: State, leg: Leg) -> None:
        real(self, leg)
        found.append((leg.name, {k: v.to("cpu", copy=True) for k, v in self.learner.network.state_dict().items()}))

    monkeypatch.setattr(State, "enter", enter)
    return found


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the command of the chain A -> D, in a folder with a small tree."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "photos", per_class=16)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "chain.py").write_text(textwrap.dedent(CHAIN))
    return "train chain --plugins plugins --out"


def test_a_deeper_vgg_begins_with_the_first_and_last_layers_of_a_shallow_one(
    chain: str, starts: Starts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train as in Simonyan and Zisserman, section 3.1, with one command, and use each leg as a MODEL."""
    assert main(shlex.split(f"{chain} run")) == 0
    assert "leg shallow ended: validation" in capsys.readouterr().err
    (_, _), (name, start) = starts
    shallow, deep = (read_model(Path("run/legs") / leg / "model.safetensors")[0] for leg in ("01-shallow", "02-deep"))
    assert name == "deep"
    for layer in SEVEN:
        for key in (f"{layer}.weight", f"{layer}.bias"):
            assert torch.equal(start[key], shallow[key]) and not torch.equal(start[key], deep[key])  # it was trained
    assert not any(
        torch.equal(start[f"features.{n}.weight"], deep[f"features.{n}.weight"]) for n in ("conv1_2", "conv4_1")
    )
    assert digest(Path("run")) == digest(Path("run/legs/02-deep"))
    for model, network in (("run/legs/01-shallow", "vgg-a"), ("run/legs/02-deep", "vgg-d"), ("run", "vgg-d")):
        capsys.readouterr()
        assert load_network(model, open_context()).name == network
        assert main(shlex.split(f"evaluate {model} --json")) == 0
        row = json.loads(capsys.readouterr().out)
        assert provenance(Path(model)).metrics["test"].measures["top1"] == pytest.approx(first_row(row)["top1"])


@pytest.mark.slow
def test_the_first_stage_may_take_first_and_last_layers_from_a_finished_run(
    chain: str, starts: Starts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(f"{chain} run --epochs 1")) == 0
    capsys.readouterr()
    deep = "--model.network vgg-d --model.size 32 --model.widths 8 8 8 8 8 --model.hidden 32 32"
    how = "--data photos --batch 8 --epochs 1 --augment none --precision fp32"
    words = f"train folder --init run/legs/01-shallow --begin first-and-last {deep} {how} --out deeper"
    assert main(shlex.split(words)) == 0
    assert "begins from run/legs/01-shallow: 14 of 32 tensors copied" in capsys.readouterr().err
    start, shallow = starts[-1][1], read_model(Path("run/legs/01-shallow/model.safetensors"))[0]
    taken = [name for name in start if torch.equal(start[name], shallow.get(name, start[name] + 1))]
    weights = [name for name in taken if name.endswith(".weight")]
    assert [name.removesuffix(".weight") for name in weights] == SEVEN


def first_row(record: Any) -> Any:
    """Return the first row of the output of `evaluate --json`."""
    return record["rows"][0] if "rows" in record else record


def test_a_resumed_chain_ends_with_the_same_bits(chain: str, tmp_path: Path) -> None:
    assert main(shlex.split(f"{chain} whole")) == 0
    config = Path("whole/config.json")
    for after in (1, 7):  # in the first leg, and in the second
        saved = 0
        for event in train(training(tmp_path), tmp_path / f"{after}", save_every=0):
            saved += isinstance(event, Saved)
            if saved == after:
                break
        assert not (tmp_path / f"{after}" / "model.safetensors").exists()
        list(train(training(tmp_path), tmp_path / f"{after}"))
        for leg in ("01-shallow", "02-deep"):
            assert digest(tmp_path / f"{after}" / "legs" / leg) == digest(tmp_path / "whole" / "legs" / leg)
    assert config.is_file()


def training(folder: Path) -> Training:
    """Return the recipe of the chain."""
    from imclass.app.api import configure

    return configure("chain", plugins=folder / "plugins")


def narrow(**changes: Any) -> Stage:
    """Return a stage of a small LeNet."""
    settings: dict[str, Any] = {"batch": 8, "optimiser": SGD(), "schedule": Constant(rate=0.05)}
    return Stage(**{**settings, **changes})


def make_config(data: Path, *stages: Stage, **changes: Any) -> Training:
    """Return a config of stages on small photos, with a quarter of train for validation."""
    changes = {"validation": 0.25, **changes}
    return Training(
        "legs", Model("lenet-5", {}, (0.4,), (0.25,)), stages, Preprocess(28, "rgb", "squash"), str(data), **changes
    )


def test_best_weights_and_history_belong_to_one_leg(tmp_path: Path) -> None:
    """Check that a second leg, with another network and worse scores, keeps the best of its own epochs."""
    photos = tree(tmp_path / "photos", per_class=20)
    other = Model("lenet-5", {"widths": (3, 5)}, (0.4,), (0.25,))
    second = narrow(model=other, begin="fresh", schedule=Constant(rate=1e-9), epochs=2)
    events = list(train(make_config(photos, narrow(epochs=6), second), tmp_path / "run"))
    first, last = (event for event in events if isinstance(event, LegEnd))
    found = [
        e.result.measures["top1"]
        for e in events
        if isinstance(e, Evaluated) and e.split == "validation" and e.at.stage == 1
    ]
    assert len(found) == 2 and max(found) < first.metrics["validation"]["top1"]
    assert last.metrics["validation"]["top1"] == max(found)
    tensors, header = read_model(tmp_path / "run" / "model.safetensors")
    assert tuple(header.body["row"]["widths"]) == (3, 5) and len(tensors["features.0.weight"]) == 3
    assert provenance(tmp_path / "run").metrics["validation"].measures["top1"] == max(found)


def test_the_next_leg_begins_from_the_chosen_weights(tmp_path: Path, starts: Starts) -> None:
    photos = tree(tmp_path / "photos", per_class=20)
    steep = narrow(epochs=3, schedule=Constant(rate=0.02))
    events = list(train(make_config(photos, steep, narrow(optimiser=Adam())), tmp_path / "run"))
    (_, _), (_, start) = starts
    chosen, header = read_model(tmp_path / "run" / "legs" / "01-lenet-5" / "model.safetensors")
    assert header.trained is not None and header.trained.chosen.startswith("best on validation")
    assert all(torch.equal(start[key], chosen[key]) for key in start)
    assert next(e.at.samples for e in events if isinstance(e, StepEnd) and e.at.stage == 1) == 8


def test_no_split_is_scored_twice_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, scored = tree(tmp_path / "photos", per_class=20), []
    real = runs.evaluate

    def record(classifier: NetworkClassifier, data: Any, **how: Any) -> Any:
        from imclass.core.model_file import tensors_digest

        scored.append((data.split, tensors_digest(classifier.network.state_dict())))
        return real(classifier, data, **how)

    monkeypatch.setattr(runs, "evaluate", record)
    list(train(make_config(photos, narrow(epochs=3), narrow(epochs=2)), tmp_path / "run"))
    assert len(set(scored)) == len(scored) == 7  # validation five times, test once a leg
    scored.clear()
    list(train(make_config(photos, narrow(epochs=2), validation=0.0), tmp_path / "without"))
    assert [split for split, _ in scored] == ["test", "test"] and len(set(scored)) == 2


def test_patience_ends_a_leg(tmp_path: Path) -> None:
    photos = tree(tmp_path / "photos", per_class=20)
    stage = narrow(epochs=9, patience=2, schedule=Constant(rate=1e-9))
    events = list(train(make_config(photos, stage, narrow()), tmp_path / "run"))
    assert [e.at.epoch for e in events if isinstance(e, EpochEnd)] == [0, 1, 2, 3]  # the last of the second leg
    with pytest.raises(UserError, match="--patience 2 needs a validation split"):
        train(make_config(photos, stage, validation=0.0), tmp_path / "none")


def test_the_start_is_scored_and_may_be_chosen(tmp_path: Path, starts: Starts) -> None:
    photos = tree(tmp_path / "photos", per_class=20)
    ruinous = narrow(schedule=Constant(rate=30.0), keep_start=True)
    events = list(train(make_config(photos, narrow(epochs=6), ruinous, nonfinite="skip"), tmp_path / "run"))
    second = [e for e in events if isinstance(e, Evaluated) and e.split == "validation" and e.at.stage == 1]
    assert [(e.at.batch, e.best) for e in second] == [(0, True), (3, False)]
    start, tensors = starts[1][1], read_model(tmp_path / "run" / "model.safetensors")[0]
    assert all(torch.equal(start[key], tensors[key]) for key in start)


WATCHING = """
    from dataclasses import dataclass
    from typing import ClassVar

    from imclass.core.config import Position, Schedule

    @dataclass(frozen=True, kw_only=True)
    class Watching(Schedule):
        kind: ClassVar[str] = "watching"

        def share_at(self, position: Position) -> float:
            return position.errors[-1] if position.errors else 1.0

    SCHEDULES = {"watching": Watching}
"""


def test_a_schedule_can_read_the_training_errors_of_its_leg(tmp_path: Path) -> None:
    photos = tree(tmp_path / "photos", per_class=20)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "watching.py").write_text(textwrap.dedent(WATCHING))
    config = make_config(photos, narrow(epochs=2), narrow(epochs=3))
    override = {"stages.1.schedule.kind": "watching", "stages.1.schedule.rate": 0.01}
    events = list(train(config, tmp_path / "run", plugins=tmp_path / "plugins", override=override))
    errors = [1 - e.measures["top1"] for e in events if isinstance(e, EpochEnd)][2:]
    rates = {e.at.epoch: e.rate for e in events if isinstance(e, StepEnd) and e.at.stage == 1}
    assert [*rates.values()] == pytest.approx([0.01, 0.01 * errors[0], 0.01 * errors[1]])
    assert 0 < errors[0] < 1


def test_a_name_that_cannot_be_a_folder_is_refused() -> None:
    with pytest.raises(UserError, match="name is 'a/b'; it must be letters, digits"):
        make_config(Path("photos"), narrow(name="a/b"))


def test_a_mistake_in_a_later_leg_is_found_before_the_first_step(tmp_path: Path) -> None:
    photos = tree(tmp_path / "photos", per_class=20)
    for second, message in (
        (narrow(model=Model("vgg-a", {"size": 32})), "stage vgg-a: --stages.1.preprocess.size is 28"),
        (narrow(rates={"haed.*": 0.0}), "matches no layer"),
        (narrow(model=Model("lenet-5", {"widths": (3, 5)}), begin="first-and-last"), "does not fit"),
    ):
        with pytest.raises(UserError, match=message):
            train(make_config(photos, narrow(), second), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_leg_is_a_model_in_python(tmp_path: Path) -> None:
    photos = tree(tmp_path / "photos", per_class=20)
    list(train(make_config(photos, narrow(name="one"), narrow(name="two")), tmp_path / "run"))
    classifier = load(tmp_path / "run" / "legs" / "01-one")
    assert isinstance(classifier, NetworkClassifier)
    assert classifier.trained is not None and classifier.trained.data is not None
    assert classifier.trained.data.path == str(photos)
