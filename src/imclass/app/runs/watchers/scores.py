"""The scores of held-out images, saved in a run so that no split is scored twice with the same weights."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from imclass.core.codec import to_json
from imclass.core.config import Training
from imclass.core.contracts import Dataset
from imclass.core.targets import AnyOf
from imclass.data.subset import VALIDATION
from imclass.evaluation.papers.render import describe_net
from imclass.evaluation.papers.table import RowSubject
from imclass.evaluation.results import Facts, image_names, save_scores
from imclass.training.events import Evaluated, Event
from imclass.training.keeper import Keeper
from imclass.training.plan import Leg

SCORES = "scores"  # folder next to a leg's model file
LAST_VALIDATION = "validation-last"  # scores with the last weights; "validation" has the scores with the best weights


class Scores:
    """A consumer that writes the scores of every held-out split, with a leg's chosen weights, to `scores/SPLIT.npz`.

    The validation split is scored after each epoch. The scores of the best epoch are those with the chosen weights. The
    scores with the last weights are written to another file. Each file is written before the next checkpoint, so that
    a resumed run has the files that belong to its checkpoint. If a file cannot be written, it is removed, and writing
    is tried again at the next event.
    """

    def __init__(self, keeper: Keeper, legs: Sequence[Leg], held_out: Mapping[str, Dataset], config: Training) -> None:
        self.keeper, self.legs, self.held_out, self.config = keeper, legs, held_out, config
        self.pending: dict[Path, tuple[Evaluated, Facts]] = {}

    def see(self, event: Event) -> None:
        """Write the scores of an evaluated split, and all files that are still pending."""
        if isinstance(event, Evaluated):
            leg = self.legs[event.at.stage]
            folder, facts = self.keeper.model_of(leg).parent / SCORES, self.facts(leg, event.split)
            for name, why in score_file_names(event, may_choose(leg)):
                self.pending[folder / f"{name}.npz"] = (event, replace(facts, scope=facts.scope + why))
        self.write()

    def write(self) -> None:
        """Write all pending files. If a file cannot be written, remove it, so that no older scores remain."""
        for path, (event, facts) in list(self.pending.items()):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                names = image_names(self.held_out[event.split], event.result)
                save_scores(path, event.result, names, to_json(facts))
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            del self.pending[path]

    def facts(self, leg: Leg, split: str) -> Facts:
        """Return the facts to store with the scores. None of them depends on the run's folder."""
        name = self.config.recipe if len(self.legs) == 1 else f"{self.config.recipe}, leg {leg.name}"
        data = self.config.data
        tested = RowSubject((describe_net(leg.model.network, leg.preprocess, leg.trained),), "", name)
        rule = self.held_out[split].origin.rule
        return Facts((name,), tested, f"split {split} of {data} (held out of training: {rule})", data, split)

    def close(self) -> None:
        """Write the files that are still pending."""
        self.write()


def may_choose(leg: Leg) -> bool:
    """Return whether a leg, or one before it, can choose weights or thresholds."""
    has_thresholds = isinstance(leg.loader.dataset.targets, AnyOf)
    return leg.number > 0 or leg.stage.epochs > 1 or leg.stage.keep_start or has_thresholds


def score_file_names(event: Evaluated, chooses: bool = True) -> Iterator[tuple[str, str]]:
    """Yield the name of each score file for an evaluation, and a text to append to the description of the images."""
    if event.split != VALIDATION:
        yield event.split, ""
        return
    yield LAST_VALIDATION, "; scored with the last weights"
    if event.best:
        yield VALIDATION, "; the weights were chosen on these images" if chooses else ""
