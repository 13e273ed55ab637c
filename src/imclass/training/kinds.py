"""The tables of the kinds in a config. All of them except the table of split rules include the kinds of plugins."""

from imclass.core.codec import Kinds
from imclass.core.config import SPLIT_KINDS, Augment, Average, Objective, Optimiser, Schedule, Solver
from imclass.store.context import Context, find_in


def kind_tables(context: Context | None = None) -> Kinds:
    """Return the table of kinds for each base class."""
    return {
        **SPLIT_KINDS,
        Augment: find_in(context, "imclass.data.augment", "AUGMENTS", "augmentation"),
        Average: find_in(context, "imclass.training.averages", "AVERAGES", "average"),
        Objective: find_in(context, "imclass.training.objectives", "OBJECTIVES", "objective"),
        Optimiser: find_in(context, "imclass.training.optimisers", "OPTIMISERS", "optimiser"),
        Schedule: find_in(context, "imclass.training.schedules", "SCHEDULES", "schedule"),
        Solver: find_in(context, "imclass.pipelines.solvers", "SOLVERS", "solver"),
    }
