"""The time that each epoch of training, or each task of a pipeline's fit, has taken according to a run's log."""
# Tested in tests/app/report/test_page.py

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EpochCost:
    """The time, number of images and learning rate of one training epoch."""

    number: int  # from 1
    images: int
    seconds: float  # of training, without evaluation
    waited: float  # part of `seconds` spent waiting for data
    rate: float  # the learning rate at the end of the epoch


@dataclass(frozen=True)
class TaskCost:
    """The time of a task in the fit of a pipeline, and how much of it the store had in advance."""

    name: str
    done: int
    computed: int
    unit: str
    seconds: float


def epoch_costs(log: Sequence[Mapping[str, Any]]) -> list[EpochCost]:
    """Return the time, images and learning rate of each finished epoch, computed from the steps in the log."""
    steps: dict[int, list[Mapping[str, Any]]] = {}
    for entry in log:
        if entry["event"] == "step_end":
            steps.setdefault(entry["epoch"], []).append(entry)
    done = {entry["epoch"] for entry in log if entry["event"] == "epoch_end"}
    return [
        EpochCost(
            epoch + 1,
            images=sum(step["images"] for step in entries),
            seconds=sum(step["seconds"] for step in entries),
            waited=sum(step["waited"] for step in entries),
            rate=entries[-1]["rate"],
        )
        for epoch, entries in sorted(steps.items())
        if epoch in done
    ]


def task_costs(log: Sequence[Mapping[str, Any]]) -> list[TaskCost]:
    """Return the cost of each task in the log of a pipeline's fit. Each task's last record counts."""
    last = {entry["stage"]: entry for entry in log if entry["event"] == "task_progress"}
    names = ("task", "done", "computed", "unit", "seconds")
    return [TaskCost(*(entry[name] for name in names)) for entry in last.values()]
