"""Facts about the training images that a run needs before its first step: means, and colours for augmentation."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from imclass.app.runs.beginning import InitModel
from imclass.core.codec import to_json
from imclass.core.preprocess import Preprocess
from imclass.data.augment.measuring import MeasuringKind, is_measuring_kind
from imclass.data.facts import mean_colour, mean_image
from imclass.training.plan import Leg


def facts_of(legs: Sequence[Leg], source: InitModel | None) -> dict[str, Tensor]:
    """Return the facts that the legs need, keyed by `fact_name`.

    If the source has a fact of the right shape, it is used, and no new one is computed. Legs with the same `preprocess`
    share their facts.
    """
    facts: dict[str, Tensor] = {}
    for leg in legs:
        for kind, compute in computations(leg, source).items():
            name = fact_name(kind, leg.preprocess)
            facts[name] = facts[name] if name in facts else compute()
    return facts


def computations(leg: Leg, source: InitModel | None) -> dict[str, Callable[[], Tensor]]:
    """Return a function for each fact that a leg needs, keyed by the kind of fact."""
    found: dict[str, Callable[[], Tensor]] = {
        rule.kind: partial(measure_fact, rule, leg, source) for rule in leg.loader.augment if is_measuring_kind(rule)
    }
    if leg.model.mean_image:
        found["mean_image"] = partial(find_mean_image, leg, source)
    if leg.model.mean_colour:
        found["mean_colour"] = lambda: mean_colour(leg.loader.views())
    return found


def find_mean_image(leg: Leg, source: InitModel | None) -> Tensor:
    """Return the source's mean image if it fits the leg, otherwise that of the training images."""
    shape = (leg.preprocess.w_in, leg.preprocess.size, leg.preprocess.size)
    given = source.mean_image if source is not None else None
    return given if given is not None and given.shape == shape else mean_image(leg.loader.views())


def measure_fact(rule: MeasuringKind, leg: Leg, source: InitModel | None) -> Tensor:
    """Return the source's matrix for a rule if it fits the leg, otherwise that of the training images."""
    given = source.measured.get(rule.kind) if source is not None else None
    if given is not None and [len(row) for row in given] == [leg.preprocess.w_in] * leg.preprocess.w_in:
        return torch.tensor(given)
    return torch.from_numpy(rule.measure(leg.loader.rgb_views()))


def with_facts(legs: Sequence[Leg], facts: Mapping[str, Tensor]) -> tuple[Leg, ...]:
    """Return the legs, each with the facts that it needs.

    These are the mean that a leg subtracts from images and uses as padding, and the matrices for its augmentations.
    """
    return tuple(with_measured(with_mean(leg, facts), facts) for leg in legs)


def with_mean(leg: Leg, facts: Mapping[str, Tensor]) -> Leg:
    """Return a leg with the mean that it computes from the training images, if it computes one."""
    kind = "mean_image" if leg.model.mean_image else "mean_colour" if leg.model.mean_colour else ""
    return leg.with_mean(facts[fact_name(kind, leg.preprocess)]) if kind else leg


def with_measured(leg: Leg, facts: Mapping[str, Tensor]) -> Leg:
    """Return a leg whose augmentations have their matrices. Its model file records these."""
    kinds = [rule.kind for rule in leg.loader.augment if is_measuring_kind(rule)]
    return leg.with_measured({kind: facts[fact_name(kind, leg.preprocess)].numpy() for kind in kinds})


def with_placeholders(legs: Sequence[Leg]) -> tuple[Leg, ...]:
    """Return the legs with zeros as the matrices of their augmentations.

    Steps can then be timed before anything is computed from the training images.
    """

    def blank(leg: Leg) -> Leg:
        zeros = np.zeros((leg.preprocess.w_in, leg.preprocess.w_in), np.float32)
        kinds = [rule.kind for rule in leg.loader.augment if is_measuring_kind(rule)]
        return leg.with_measured(dict.fromkeys(kinds, zeros))

    return tuple(map(blank, legs))


def fact_name(kind: str, preprocess: Preprocess) -> str:
    """Return the name of a fact in the file of facts. It depends on how the images are preprocessed."""
    record = json.dumps(to_json(preprocess), sort_keys=True)
    return f"{kind}.{hashlib.sha256(record.encode()).hexdigest()[:8]}"
