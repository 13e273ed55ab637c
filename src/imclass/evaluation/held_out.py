"""Choice of the images on which models are scored: by default, images that none of the models was trained on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from imclass.core.codec import to_json
from imclass.core.config import Cut, Division
from imclass.core.contracts import Classifier, Dataset
from imclass.core.errors import UserError
from imclass.core.model_file import DataFacts, Provenance
from imclass.data.catalog import OpenData, dataset_table
from imclass.data.source import ALL_IMAGES
from imclass.data.subset import VALIDATION
from imclass.store.context import Context

HELD_OUT = ("test", VALIDATION)  # the splits to score, in order of preference


@dataclass(frozen=True)
class ModelOrigin:
    """The origin of the model named `model`, as recorded in its file."""

    model: str
    trained: Provenance = Provenance()
    recognises: bool = False  # its file records the training images, so that `leaks` can leave them out

    @property
    def data(self) -> DataFacts:
        """Return the recorded facts about the training data, or empty facts if none are recorded."""
        return self.trained.data or DataFacts()

    @property
    def cut(self) -> Cut:
        """Return how the model's data was split."""
        return self.data.cut

    @property
    def plain_cut(self) -> Cut:
        """Return how the model's data was split, but with all of its classes and without a validation split."""
        return replace(self.cut.of_all_classes, validation=0.0)

    def for_data(self, data: OpenData) -> "ModelOrigin":
        """Return this origin, but without its fold or draw if `data` is not at the path of the model's data.

        Such data is then divided as for a model that was trained on other data.
        """
        if not isinstance(self.cut.rule, Division) or self.trained.data is None:
            return self
        plain = Cut(seed=self.cut.seed)
        if self.has_same_path(data.take("train", plain)):
            return self
        return replace(self, trained=replace(self.trained, data=replace(self.trained.data, cut=plain)))

    def open(self, data: OpenData, split: str) -> Dataset:
        """Return a split of `data`, which is divided in the same way as the model's data.

        The model's choice of classes applies, and a validation split is set aside, only if `data` is the model's data.
        """
        whole = self.cut_with_validation_in_train(data)
        if split == "all" or (split == "test" and split in data.splits(whole)):
            return data.take(split, whole)  # validation images come only from train
        return data.take(split, self.cut_of(data))

    def cut_of(self, data: OpenData) -> Cut:
        """Return how to split `data`: in the same way as the model's data.

        A validation split is set aside, and the model's choice of classes applies, only if `data` is the model's data.
        """
        whole = self.cut_with_validation_in_train(data)
        if not self.cut.validation:
            return whole
        present = data.splits(whole)
        if (VALIDATION in present and "test" in present) or not self.is_training_data(data):
            return whole
        return self.cut

    def cut_with_validation_in_train(self, data: OpenData) -> Cut:
        """Return how to split `data` without a validation split, with the model's choice of classes if it applies."""
        chooses = self.cut != self.cut.of_all_classes
        return replace(self.cut, validation=0.0) if chooses and self.is_training_data(data) else self.plain_cut

    def is_training_data(self, data: OpenData) -> bool:
        """Return whether `data` is the model's data, at the same path or elsewhere with the same content."""
        if self.has_same_path(data.take("train", self.plain_cut)):
            return True
        try:
            return self.has_same_content(data.take("train", self.cut))
        except UserError:  # it has other classes, or a validation split of its own
            return False

    @property
    def key(self) -> str:
        """Return a string that identifies the model's training data and how that data was split."""
        return json.dumps([to_json(self.trained.data), self.trained.names.data])

    def has_same_path(self, training: Dataset) -> bool:
        """Return whether a training split has the same path as the model's training data."""
        return self.trained.data is not None and training.origin.path == self.data.path

    def has_same_content(self, training: Dataset) -> bool:
        """Return whether a training split has the same content as the model's training data. The paths may differ."""
        return self.trained.data is not None and training.digest() == self.data.digest


@dataclass(frozen=True)
class SplitChoice:
    """A split to score, and why it was chosen."""

    dataset: Dataset
    scope: str  # a phrase that says what the split is and why it was chosen
    data: str  # name or folder
    known: tuple[ModelOrigin, ...] = ()  # origins of the models to score
    source: OpenData | None = field(default=None, repr=False)  # opens other splits; None if the user passed a split


def choose_split(
    models: Mapping[str, Classifier], data: str | None, split: str | None, context: Context
) -> SplitChoice:
    """Return the split on which all models are scored. `models` is keyed by name.

    `data` and `split` are the user's choices. If `split` is None, the result is a split that no model was trained on.
    Raise `UserError` if the models have different held-out images in the same data.
    """
    known = list({k.key: k for name, model in models.items() for k in model_origins(name, model)}.values())
    source = OpenData(data or find_training_data(known, context), context)
    known = [k.for_data(source) for k in known]
    choices = [(k, choose_model_split(k, source, split)) for k in known]
    held_out = [c for c in choices if c[1].dataset.split != "all"] or choices
    one, first = held_out[0]
    for other, choice in held_out[1:]:
        if not has_same_images(first.dataset, choice.dataset):
            raise UserError(
                f"{one.model} and {other.model} have different held-out images: {first.scope}; {choice.scope}. Choose "
                "--data that neither was trained on, or train both either with the same --split-seed or on a folder "
                "that has train/ and test/"
            )
    return replace(first, known=tuple(known), source=source)


def choose_validation(chosen: SplitChoice, asked: str) -> SplitChoice:
    """Return the validation split to fit to, from the same data as the chosen split.

    Results are never reported on images used for fitting. `asked` names the fitting options in messages.
    Raise `UserError` if the data has no validation split, if the chosen split contains the validation images, or if the
    models were trained with different validation images.
    """
    source = chosen.source
    if source is None:
        raise ValueError("the split was passed as a data set, so no other split can be opened")
    # Models of other data, such as the network in a pipeline, have no part in the division of these images.
    trained_here = [k for k in chosen.known if k.is_training_data(source)] or list(chosen.known)
    each = [k.cut_of(source) for k in trained_here]
    lacks = [splits for cut in each if VALIDATION not in (splits := source.splits(cut))]
    if lacks:
        raise UserError(
            f"{chosen.data} has no validation split to fit to (it has {', '.join(lacks[0])}); train with "
            f"--validation 0.1, or leave out {asked}"
        )
    if chosen.dataset.split in (VALIDATION, "all"):
        fix = f"train with --validation 0.1 to have images to fit to, or leave out {asked}"
        if "test" in chosen.dataset.splits:
            fix = "score another split with --split test"
        raise UserError(
            f"split {chosen.dataset.split} of {chosen.data} contains the validation images, "
            f"which are needed for {asked}; {fix}"
        )
    fitted, *others = (source.take(VALIDATION, cut) for cut in each)
    for known, other in zip(trained_here[1:], others, strict=True):
        if not has_same_images(fitted, other):
            raise UserError(
                f"{trained_here[0].model} and {known.model} were trained with different validation images of "
                f"{chosen.data}, so one was trained on images needed for fitting; train both with the same "
                f"--validation and the same --split-seed, or leave out {asked}"
            )
    return SplitChoice(fitted, f"split validation of {chosen.data}", chosen.data)


def has_same_images(one: Dataset, other: Dataset) -> bool:
    """Return whether two splits contain the same images from the same source."""
    return one.origin.path == other.origin.path and one.ids.tolist() == other.ids.tolist()


def model_origins(name: str, model: Classifier) -> list[ModelOrigin]:
    """Return the origin of each model that is part of `model`."""
    recognises = model.trained_on is not None
    return [ModelOrigin(name, trained or Provenance(), recognises) for trained in model.lineage()]


def relation_to_training(known: ModelOrigin) -> str:
    """Return a remark about data that is not known to be the model's training data, or "" if none is needed."""
    if known.recognises:
        return ""  # `leaks` recognises each image that the model was trained on
    if known.trained.data is None:
        return " (the model does not record which images it was trained on)"
    return " (not the data that the model was trained on)"


def choose_model_split(known: ModelOrigin, source: OpenData, split: str | None) -> SplitChoice:
    """Return the split on which one model is scored."""
    data = source.name
    if split is not None:
        chosen, scope = known.open(source, split), f"split {split} of {data}"
        if split in ("train", "all") and not known.recognises:
            scope += training_warning(known, source)
        return SplitChoice(chosen, scope, data)
    if (elsewhere := choose_split_elsewhere(known, source)) is not None:
        return elsewhere
    first = known.open(source, "train")
    trained_from = known.has_same_path(first) or known.has_same_content(first)
    trained_on_all = known.data.splits == ("train",)  # the folds of a cross-validation leave nothing out
    if not first.origin.has_splits and (trained_on_all or not trained_from):
        every = known.open(source, "all")
        return SplitChoice(every, f"all images of {data}{relation_to_training(known)}", data)
    held_out = held_out_split(first)
    if held_out is None:
        raise UserError(f"{data} has only a training split; use --split train to score it, or choose other --data")
    scope = f"split {held_out} of {data}"
    if trained_from:
        scope += held_out_reason(known, first)
        if held_out == known.trained.chosen_on:
            scope += "; the weights were chosen on these images"
    return SplitChoice(known.open(source, held_out), scope, data)


def choose_split_elsewhere(known: ModelOrigin, source: OpenData) -> SplitChoice | None:
    """Return the held-out split of `source` if it can be chosen without listing the training images, otherwise None.

    This requires that `source` comes with splits, and that the model's data has another path. The two may still be
    copies of the same data, but only reading the whole training split would show that. A copy matters if the held-out
    images may have been used to choose the weights, or if the model does not record its training images. In both cases,
    the result is None. If the model has no record of its data at all, there is nothing to compare with `source`.
    """
    splits = source.uncut_splits(known.plain_cut)
    held_out = next((split for split in HELD_OUT if split in splits), None)
    if ALL_IMAGES in splits or held_out is None:
        return None
    has_record = known.trained.data is not None
    if has_record and (
        not known.recognises
        or held_out == known.trained.chosen_on
        or known.has_same_path(source.take(held_out, known.plain_cut))
    ):
        return None
    return SplitChoice(known.open(source, held_out), f"split {held_out} of {source.name}", source.name)


def held_out_split(training: Dataset) -> str | None:
    """Return the name of the split to score: test if there is one, otherwise validation, otherwise None."""
    return next((split for split in HELD_OUT if split in training.splits), None)


def find_training_data(known: list[ModelOrigin], context: Context) -> str:
    """Return the training data of the first model that records it: the name of a data set, or a folder."""
    for one in known:
        named, data = one.trained.names.data, one.trained.data
        if named and (data is None or named in dataset_table(context).entries):
            return named
        if data is not None:
            if not Path(data.path).exists():
                problem = f"{one.model} was trained on {data.path}, which no longer exists"
                raise UserError(f"{problem}; specify a data set or a folder with --data")
            return data.path
    problem = f"{known[0].model} does not record what it was trained on"
    raise UserError(f"{problem}; specify a data set or a folder with --data")


def training_warning(known: ModelOrigin, source: OpenData) -> str:
    """Return a warning if the model was trained on the training split of `source`, otherwise ""."""
    training = known.open(source, "train")
    was_trained_here = known.has_same_path(training) or known.has_same_content(training)
    return ", which includes images that the model was trained on" if was_trained_here else ""


def held_out_reason(known: ModelOrigin, training: Dataset) -> str:
    """Return why the held-out part of the model's data was chosen, and a warning if that data has changed."""
    why = f" (held out of training: {training.origin.rule})"
    if not known.has_same_path(training):  # in this case the caller recognised the data by its content
        return f"{why}; this data contains the images that the model was trained on"
    changed = "; the data has changed since training, so the held-out part may have changed too"
    return why if known.recognises or known.has_same_content(training) else why + changed
