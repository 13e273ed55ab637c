"""Which images a model is judged by: the part held out of training where it knows the data, else all of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from imclass.core.codec import to_json
from imclass.core.config import Cut
from imclass.core.contracts import Classifier, Dataset
from imclass.core.errors import UserError
from imclass.core.model_file import DataFacts, Provenance
from imclass.data.catalog import OpenData, dataset_table
from imclass.data.subset import VALIDATION
from imclass.store.context import Context


@dataclass(frozen=True)
class ModelOrigin:
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
        """Return how the model's data was cut into splits."""
        return self.data.cut

    @property
    def whole(self) -> Cut:
        """Return that cut without a share of train for validation."""
        return replace(self.cut, validation=0.0)

    def open(self, data: OpenData, split: str) -> Dataset:
        """Return a split of `data`, cut as the model's data was; of other data no share of train is cut off."""
        if split == "all" or (split == "test" and split in data.splits(self.whole)):
            return data.take(split, self.whole)  # a share of train is no part of it
        return data.take(split, self.cut_of(data))

    def cut_of(self, data: OpenData) -> Cut:
        """Return how `data` is cut into splits: as the model's data was, but for validation where it is other data."""
        if not self.cut.validation:
            return self.cut
        present = data.splits(self.whole)
        if VALIDATION in present and "test" in present:
            return self.whole
        training = data.take("train", self.cut)
        return self.cut if self.has_same_path(training) or self.has_same_content(training) else self.whole

    @property
    def key(self) -> str:
        """Return a text that is equal where everything that decides the split is."""
        return json.dumps([to_json(self.trained.data), self.trained.names.data])

    def has_same_path(self, training: Dataset) -> bool:
        """Return whether this training part lies where the model's did."""
        return self.trained.data is not None and training.origin.path == self.data.path

    def has_same_content(self, training: Dataset) -> bool:
        """Return whether this training part has the content of the model's, wherever it lies."""
        return self.trained.data is not None and training.digest() == self.data.digest


@dataclass(frozen=True)
class SplitChoice:
    """The split to score, a phrase that says which it is and why, and the data's name or folder."""

    dataset: Dataset
    said: str
    data: str
    known: tuple[ModelOrigin, ...] = ()  # what the models say of their training data
    source: OpenData | None = field(default=None, repr=False)  # of other splits; None where one was given


def choose_split(
    models: Mapping[str, Classifier], data: str | None, split: str | None, context: Context
) -> SplitChoice:
    """Return what models, by their names, are judged by together; `data` and `split` are the user's wishes.

    No member may have been trained on it. Models that hold out different parts of one data set are a `UserError`.
    """
    known = list({k.key: k for name, model in models.items() for k in model_origins(name, model)}.values())
    source = OpenData(data or find_training_data(known, context), context)
    choices = [(k, choose_model_split(k, source, split)) for k in known]
    held_out = [c for c in choices if c[1].dataset.split != "all"] or choices
    one, first = held_out[0]
    for other, choice in held_out[1:]:
        if not has_same_images(first.dataset, choice.dataset):
            raise UserError(
                f"{one.model} and {other.model} hold out different images: {first.said}; {choice.said}. Name "
                "--data that neither was trained from, or train both with one --split-seed, or from a folder with "
                "train/ and test/"
            )
    return replace(first, known=tuple(known), source=source)


def choose_validation(chosen: SplitChoice, asked: str) -> SplitChoice:
    """Return the validation split of the same data, for what is fitted; never the images that are reported.

    `asked` is the options that fit something, as messages name them. A model that was trained on it, because no share
    was cut for it, is a `UserError`.
    """
    source = chosen.source
    if source is None:
        raise ValueError("the split was given as a data set, which has no other splits")
    each = [k.cut_of(source) for k in chosen.known]
    lacks = [splits for cut in each if VALIDATION not in (splits := source.splits(cut))]
    if lacks:
        raise UserError(
            f"{chosen.data} has no validation split to fit to (it has {', '.join(lacks[0])}); train with "
            f"--validation 0.1, or go without {asked}"
        )
    if chosen.dataset.split in (VALIDATION, "all"):
        way = f"train with --validation 0.1, which is fitted to then, or go without {asked}"
        if "test" in chosen.dataset.splits:
            way = "report another with --split test"
        raise UserError(
            f"split {chosen.dataset.split} of {chosen.data} holds the validation images, to which {asked} fits; {way}"
        )
    fitted, *others = (source.take(VALIDATION, cut) for cut in each)
    for known, other in zip(chosen.known[1:], others, strict=True):
        if not has_same_images(fitted, other):
            raise UserError(
                f"{chosen.known[0].model} and {known.model} were trained with different validation images of "
                f"{chosen.data}, so one has learned from what would be fitted to; train both with one --validation and "
                f"one --split-seed, or go without {asked}"
            )
    return SplitChoice(fitted, f"split validation of {chosen.data}", chosen.data)


def has_same_images(one: Dataset, other: Dataset) -> bool:
    """Return whether two splits are the same images of one source."""
    return one.origin.path == other.origin.path and one.ids.tolist() == other.ids.tolist()


def model_origins(name: str, model: Classifier) -> list[ModelOrigin]:
    """Return what the file says of each model that this one consists of."""
    recognises = model.trained_on is not None
    return [ModelOrigin(name, trained or Provenance(), recognises) for trained in model.lineage()]


def choose_model_split(known: ModelOrigin, source: OpenData, split: str | None) -> SplitChoice:
    """Return what one model is judged by."""
    data = source.name
    if split is not None:
        said = f"split {split} of {data}"
        chosen = known.open(source, split)
        asked_for = split in ("train", "all") and not known.recognises
        return SplitChoice(chosen, said + (training_warning(known, source) if asked_for else ""), data)
    if (plain := choose_split_elsewhere(known, source)) is not None:
        return plain
    first = known.open(source, "train")
    trained_from = known.has_same_path(first) or known.has_same_content(first)
    if first.origin.rule.startswith("hash") and not trained_from:
        every = known.open(source, "all")
        other = "" if known.recognises else ", another source than the model was trained from"
        return SplitChoice(every, f"all images of {data}{other}", data)
    held_out = held_out_split(first)
    if held_out is None:
        raise UserError(f"{data} has only a training split; give --split train to score that, or another --data")
    said = f"split {held_out} of {data}" + (held_out_reason(known, first) if trained_from else "")
    if trained_from and held_out in known.trained.chosen:
        said += "; the weights were chosen on these images"
    return SplitChoice(known.open(source, held_out), said, data)


def choose_split_elsewhere(known: ModelOrigin, source: OpenData) -> SplitChoice | None:
    """Return the held-out part of a tree with parts of its own that lies elsewhere than the model's; else `None`.

    It may be a copy of the model's tree. To know that, all of its training part would have to be read, and nothing
    depends on it, unless the part that was held out has chosen the weights.
    """
    whole = source.take("train", known.whole)
    if not known.recognises or known.has_same_path(whole) or whole.origin.rule.startswith("hash"):
        return None
    held_out = held_out_split(whole)
    if held_out is None or (held_out == VALIDATION and VALIDATION in known.trained.chosen):
        return None
    return SplitChoice(known.open(source, held_out), f"split {held_out} of {source.name}", source.name)


def held_out_split(training: Dataset) -> str | None:
    """Return the split of this data that models are judged by, if there is one."""
    return next((split for split in ("test", VALIDATION) if split in training.splits), None)


def find_training_data(known: list[ModelOrigin], context: Context) -> str:
    """Return the data set or folder that the first model that says so was trained from."""
    for one in known:
        named, data = one.trained.names.data, one.trained.data
        if named and (data is None or named in dataset_table(context).entries):
            return named
        if data is not None:
            if not Path(data.path).exists():
                raise UserError(f"{one.model} was trained from {data.path}, which is not there now; give --data")
            return data.path
    raise UserError(f"{known[0].model} does not say what it was trained from; name a data set or folder with --data")


def training_warning(known: ModelOrigin, source: OpenData) -> str:
    """Return a warning where the training part is the model's."""
    training = known.open(source, "train")
    known_here = known.has_same_path(training) or known.has_same_content(training)
    return ", which includes images that the model was trained on" if known_here else ""


def held_out_reason(known: ModelOrigin, training: Dataset) -> str:
    """Return why the held-out part of the model's data is taken, and whether that is still what it was."""
    why = f" (held out of training: {training.origin.rule})"
    if not known.has_same_path(training):  # known by its content, then
        return f"{why}; it holds the images that the model was trained from"
    changed = "; the data has changed since training, so the held-out part may not be what it was"
    return why if known.recognises or known.has_same_content(training) else why + changed
