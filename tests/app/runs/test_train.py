"""Training as a run: consumers, the cut of the data, and the keys and messages that Python shares with a terminal."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.app.api import configure, train
from imclass.app.load import load_classifier
from imclass.app.runs.directory import Run
from imclass.app.runs.train import prepare
from imclass.core.config import Cut, Share
from imclass.core.errors import UserError
from imclass.core.model_file import DataFacts
from imclass.data.augment.pad import Pad
from imclass.evaluation.held_out import choose_split
from imclass.store.context import open_context
from imclass.training.events import Event
from tests.support.small import tree


def test_a_consumer_of_the_user_sees_every_event_and_is_closed(tmp_path: Path) -> None:
    class Watcher:
        def __init__(self) -> None:
            self.events: list[Event] = []
            self.closed = False

        def see(self, event: Event) -> None:
            self.events.append(event)

        def close(self) -> None:
            self.closed = True

    watcher, pets = Watcher(), tree(tmp_path / "pets")
    yielded = list(train("mnist-lenet", tmp_path / "run", consumers=[watcher], data=str(pets), epochs=1, batch=8))
    assert watcher.events == yielded
    assert watcher.closed


def test_only_the_split_seed_decides_which_images_are_held_out(tmp_path: Path) -> None:
    pets = tree(tmp_path / "pets")

    def facts(**choices: Any) -> DataFacts:
        config = configure("mnist-lenet", data=str(pets), batch=8, **choices)
        found = prepare(config, Run(tmp_path / "run"), open_context(), dry=True).legs[0].trained.data
        assert found is not None
        return found

    first = facts()
    assert all(facts(seed=seed) == first for seed in (1, 2))
    other = facts(split_seed=1)
    assert other.digest != first.digest and other.rule == "hash 80/20, seed 1"
    assert other.cut == Cut(Share(test=0.2), 1)
    half = facts(split=Share(test=0.5))
    assert half.digest != first.digest and half.rule == "hash 50/50, seed 0"


def test_a_model_is_scored_on_the_images_that_its_split_held_out(tmp_path: Path) -> None:
    config = configure("mnist-lenet", data=str(tree(tmp_path / "pets")), epochs=1, batch=8)
    list(train(config, tmp_path / "run", split=Share(test=0.4), split_seed=2))
    context = open_context()
    chosen = choose_split({"run": load_classifier(tmp_path / "run", context)}, None, None, context)
    assert len(chosen.dataset) == 8 and "hash 60/40, seed 2" in chosen.scope


def test_python_takes_the_keys_of_the_command_line() -> None:
    dotted: dict[str, Any] = {"schedule.rate": 0.25, "model.widths": (4, 8), "stages.0.augment.pad.pixels": 1}
    found = configure("mnist-lenet", epochs=3, override=dotted)
    assert found == configure("mnist-lenet", epochs=3, **dotted)
    assert found.stages[0].descent[1].rate == 0.25 and found.stages[0].augment == (Pad(pixels=1),)
    assert found.model.row == {"widths": (4, 8)} and found.stages[0].epochs == 3
    assert configure("mnist-lenet", epochs=np.int64(1)) == configure("mnist-lenet", epochs=1)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"epochs": 1.5}, "--epochs is 1.5; it must be a whole number"),
        ({"epochs": "1"}, "--epochs is '1'; it must be a whole number"),
        ({"batch": 8.0}, "--batch is 8.0; it must be a whole number"),
        ({"optimiser": {"name": "adam"}}, "--optimiser lacks the field 'kind'; choose one of: adam, sgd"),
        ({"model": "resnet-18"}, "--model is 'resnet-18'; it must be an object with the fields of Model: network"),
        ({"schedule.rat": 1}, "Cosine has no field 'schedule.rat'; did you mean 'rate'?"),
        ({"model.width": 1}, "lenet-5 has no field 'width'; did you mean 'widths'?"),
        ({"model.widths": "wide"}, "--model.widths is 'wide'; it must be "),
        ({"workers": "two"}, "--workers is 'two'; it must be a whole number"),
        ({"keep": 1}, "--keep is 1; it must be at least 2"),
    ],
)
def test_python_gets_the_messages_of_the_command_line(choices: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        train("mnist-lenet", tmp_path / "run", override=choices)
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "run").exists()
