"""The tables of augmentations, objectives, optimisers and schedules, including those from plugins."""

from dataclasses import replace

from imclass.core.codec import Kinds
from imclass.core.config import Augment, Objective, Optimiser, Schedule, Solver
from imclass.core.tables import EntryTable, no_explanation
from imclass.pipelines.part import pipeline_parts
from imclass.store.context import Context, find_in


def kind_tables(context: Context | None = None) -> Kinds:
    """Return the table of kinds for each base class."""
    return {
        Augment: find_in(context, "imclass.data.augment", "AUGMENTS", "augmentation"),
        Objective: find_in(context, "imclass.training.objectives", "OBJECTIVES", "objective"),
        Optimiser: find_in(context, "imclass.training.optimisers", "OPTIMISERS", "optimiser"),
        Schedule: find_in(context, "imclass.training.schedules", "SCHEDULES", "schedule"),
        Solver: solvers(context),
    }


def solvers(context: Context | None = None) -> EntryTable:
    """Return the parts of pipelines that can fit the last layer of a network."""
    parts = pipeline_parts(context)
    fitting = {name: part for name, part in parts.entries.items() if issubclass(part, Solver)}
    return replace(parts, what="solver", entries=fitting, explain=no_explanation)
