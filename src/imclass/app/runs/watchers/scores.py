"""The scores of held-out images, kept as a run has them, so that no split is scored twice with the same weights."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from imclass.core.codec import to_json
from imclass.core.config import Training
from imclass.core.contracts import Dataset
from imclass.data.subset import VALIDATION
from imclass.evaluation.papers.table import Net, RowSubject
from imclass.evaluation.results import Facts, image_names, save_scores
from imclass.models.views.scales import training_scale
from imclass.training.events import Evaluated, Event
from imclass.training.keeper import Keeper
from imclass.training.plan import Leg

SCORES = "scores"  # the folder next to a leg's model file
LAST_VALIDATION = "validation-last"  # the scores of the last weights; "validation" has those of the best


class Scores:
    """`scores/SPLIT.npz` of each leg: the chosen weights on every split held out, and the last ones on validation.

    Validation is scored each epoch: its scores of the best weights so far are those of the weights to keep. Each file
    is written before the checkpoint that follows, so a run that goes on has the files of where it goes on from. What
    could not be written is removed and tried again at the next event.
    """

    def __init__(self, keeper: Keeper, legs: Sequence[Leg], held_out: Mapping[str, Dataset], config: Training) -> None:
        self.keeper, self.legs, self.held_out, self.config = keeper, legs, held_out, config
        self.pending: dict[Path, tuple[Evaluated, Facts]] = {}

    def see(self, event: Event) -> None:
        """Write the scores of a split."""
        if isinstance(event, Evaluated):
            leg = self.legs[event.at.stage]
            folder, facts = self.keeper.model_of(leg).parent / SCORES, self.facts(leg, event.split)
            for name, why in score_file_names(event):
                self.pending[folder / f"{name}.npz"] = (event, replace(facts, said=facts.said + why))
        self.write()

    def write(self) -> None:
        """Write all files that are still to be written; one that fails must not be there with older scores."""
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
        """Return what is kept next to the scores; nothing of it depends on where the run lies."""
        name, data, scale = self.config.recipe, self.config.data, (training_scale(leg.preprocess),)
        name = name if len(self.legs) == 1 else f"{name}, leg {leg.name}"
        tested = RowSubject((Net(leg.model.network, scale, scale),), "", name)
        rule = self.held_out[split].origin.rule
        return Facts((name,), tested, f"split {split} of {data} (held out of training: {rule})", data, split)

    def close(self) -> None:
        """Write what is left."""
        self.write()


def score_file_names(event: Evaluated) -> Iterator[tuple[str, str]]:
    """Yield the name of each file that an evaluation is kept in, and what to add to the phrase on its images."""
    if event.split != VALIDATION:
        yield event.split, ""
        return
    yield LAST_VALIDATION, "; the weights are the last"
    if event.best:
        yield VALIDATION, "; the weights were chosen on these images"
