"""Which images a model is judged by: the part held out of training where it knows the data, else all of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from imclass.core.codec import to_json
from imclass.core.config import Cut
from imclass.core.contracts import Classifier, Dataset
from imclass.core.errors import UserError
from imclass.core.model_file import DataFacts, Provenance
from imclass.data.catalog import open_split, sources
from imclass.data.subset import VALIDATION
from imclass.store.context import Context


@dataclass(frozen=True)
class Known:
    """What the file of the model called `model` says of how it came about."""

    model: str
    trained: Provenance = Provenance()
    recognises: bool = False  # the images that it was trained on, wherever they lie: `leaks` keeps them out

    @property
    def data(self) -> DataFacts:
        """Return the facts of the data that it was trained on, all empty where they are not known."""
        return self.trained.data or DataFacts()

    @property
    def cut(self) -> Cut:
        """How the model's own data was cut into splits."""
        return self.data.cut

    def open(self, data: str, split: str, context: Context) -> Dataset:
        """Return a split of `data`, cut as the model's own data was; of other data no share of train is cut off."""
        whole = replace(self.cut, validation=0.0)
        if split == "all" or (split == "test" and split in open_split(data, "train", context, whole).splits):
            return open_split(data, split, context, whole)  # a share of train is no part of it
        return open_split(data, split, context, self.cut_of(data, context))

    def cut_of(self, data: str, context: Context) -> Cut:
        """Return how `data` is cut into splits: as the model's own was, but for validation where it is other data."""
        if not self.cut.validation:
            return self.cut
        whole = replace(self.cut, validation=0.0)
        present = open_split(data, "train", context, whole)
        if VALIDATION in present.splits and "test" in present.splits:
            return whole
        cut = open_split(data, "train", context, self.cut)
        return self.cut if self.is_at(cut) or self.is_same(cut) else whole

    @property
    def key(self) -> str:
        """Equal where everything that decides the split is."""
        return json.dumps([to_json(self.trained.data), self.trained.names.data])

    def is_at(self, training: Dataset) -> bool:
        """Whether this training part lies where the model's own did."""
        return self.trained.data is not None and training.origin.path == self.data.path

    def is_same(self, training: Dataset) -> bool:
        """Whether this training part has the content of the model's own, wherever it lies."""
        return self.trained.data is not None and training.digest() == self.data.digest


@dataclass(frozen=True)
class Chosen:
    """The split to score, a phrase that says which it is and why, and the data's name or folder."""

    dataset: Dataset
    said: str
    data: str
    known: tuple[Known, ...] = ()  # what the models say of their training data


def split_for(models: Mapping[str, Classifier], data: str | None, split: str | None, context: Context) -> Chosen:
    """What models, by their names, are judged by together; `data` and `split` are the user's wishes.

    No member may have been trained on it. Models that hold out different parts of one data set are a `UserError`.
    """
    known = list({k.key: k for name, model in models.items() for k in knowledge(name, model)}.values())
    data = data or data_of(known, context)
    choices = [(k, split_for_one(k, data, split, context)) for k in known]
    held_out = [c for c in choices if c[1].dataset.split != "all"] or choices
    one, first = held_out[0]
    for other, choice in held_out[1:]:
        if not same_images(first.dataset, choice.dataset):
            raise UserError(
                f"{one.model} and {other.model} hold out different images: {first.said}; {choice.said}. Name "
                "--data that neither was trained from, or train both with one --split-seed, or from a folder with "
                "train/ and test/"
            )
    return replace(first, known=tuple(known))


def validation_for(chosen: Chosen, asked: str, context: Context) -> Chosen:
    """Return the validation split of the same data, for what is fitted; never the images that are reported.

    `asked` is the options that fit something, as messages name them. A model that was trained on it, because no share
    was cut for it, is a `UserError`.
    """
    each = [k.cut_of(chosen.data, context) for k in chosen.known]
    trains = [open_split(chosen.data, "train", context, cut) for cut in each]
    lacks = [train for train in trains if VALIDATION not in train.splits]
    if lacks:
        raise UserError(
            f"{chosen.data} has no validation split to fit to (it has {', '.join(lacks[0].splits)}); train with "
            f"--validation 0.1, or go without {asked}"
        )
    if chosen.dataset.split in (VALIDATION, "all"):
        way = f"train with --validation 0.1, which is fitted to then, or go without {asked}"
        if "test" in chosen.dataset.splits:
            way = "report another with --split test"
        raise UserError(
            f"split {chosen.dataset.split} of {chosen.data} holds the validation images, to which {asked} fits; {way}"
        )
    fitted, *others = (open_split(chosen.data, VALIDATION, context, cut) for cut in each)
    for known, other in zip(chosen.known[1:], others, strict=True):
        if not same_images(fitted, other):
            raise UserError(
                f"{chosen.known[0].model} and {known.model} were trained with different validation images of "
                f"{chosen.data}, so one has learned from what would be fitted to; train both with one --validation and "
                f"one --split-seed, or go without {asked}"
            )
    return Chosen(fitted, f"split validation of {chosen.data}", chosen.data)


def same_images(one: Dataset, other: Dataset) -> bool:
    """Whether two splits are the same images of one source."""
    return one.origin.path == other.origin.path and one.ids.tolist() == other.ids.tolist()


def knowledge(name: str, model: Classifier) -> list[Known]:
    """Return what the file says of each model that this one consists of."""
    recognises = model.trained_on is not None
    return [Known(name, trained or Provenance(), recognises) for trained in model.lineage()]


def split_for_one(known: Known, data: str, split: str | None, context: Context) -> Chosen:
    """What one model is judged by."""
    if split is not None:
        said = f"split {split} of {data}"
        chosen = known.open(data, split, context)
        asked_for = split in ("train", "all") and not known.recognises
        return Chosen(chosen, said + (learned(known, data, context) if asked_for else ""), data)
    if (plain := parts_of_another(known, data, context)) is not None:
        return plain
    first = known.open(data, "train", context)
    trained_from = known.is_at(first) or known.is_same(first)
    if first.origin.rule.startswith("hash") and not trained_from:
        every = known.open(data, "all", context)
        other = "" if known.recognises else ", another source than the model was trained from"
        return Chosen(every, f"all images of {data}{other}", data)
    held_out = held_out_of(first)
    if held_out is None:
        raise UserError(f"{data} has only a training split; give --split train to score that, or another --data")
    said = f"split {held_out} of {data}" + (reason(known, first) if trained_from else "")
    if trained_from and held_out in known.trained.chosen:
        said += "; the weights were chosen on these images"
    return Chosen(known.open(data, held_out, context), said, data)


def parts_of_another(known: Known, data: str, context: Context) -> Chosen | None:
    """Return the held-out part of a tree with parts of its own that lies elsewhere than the model's; else `None`.

    It may be a copy of the model's tree. To know that, all of its training part would have to be read, and nothing
    depends on it, unless the part that was held out has chosen the weights.
    """
    whole = open_split(data, "train", context, replace(known.cut, validation=0.0))
    if not known.recognises or known.is_at(whole) or whole.origin.rule.startswith("hash"):
        return None
    held_out = held_out_of(whole)
    if held_out is None or (held_out == VALIDATION and VALIDATION in known.trained.chosen):
        return None
    return Chosen(known.open(data, held_out, context), f"split {held_out} of {data}", data)


def held_out_of(training: Dataset) -> str | None:
    """Return the split of this data that models are judged by, if there is one."""
    return next((split for split in ("test", VALIDATION) if split in training.splits), None)


def data_of(known: list[Known], context: Context) -> str:
    """The data set or folder that the first model that says so was trained from."""
    for one in known:
        named, data = one.trained.names.data, one.trained.data
        if named and (data is None or named in sources(context).entries):
            return named
        if data is not None:
            if not Path(data.path).exists():
                raise UserError(f"{one.model} was trained from {data.path}, which is not there now; give --data")
            return data.path
    raise UserError(f"{known[0].model} does not say what it was trained from; name a data set or folder with --data")


def learned(known: Known, data: str, context: Context) -> str:
    """A warning where the training part is the model's own."""
    training = known.open(data, "train", context)
    own = known.is_at(training) or known.is_same(training)
    return ", which includes images that the model was trained on" if own else ""


def reason(known: Known, training: Dataset) -> str:
    """Why the held-out part of the model's own data is taken, and whether that is still what it was."""
    why = f" (held out of training: {training.origin.rule})"
    if not known.is_at(training):  # known by its content, then
        return f"{why}; it holds the images that the model was trained from"
    changed = "; the data has changed since training, so the held-out part may not be what it was"
    return why if known.recognises or known.is_same(training) else why + changed
