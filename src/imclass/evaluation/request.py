"""A request to score classifiers: a row for each model and protocol, from one pass over the images; rows of fusions."""
# Tested in tests/app/verbs/test_evaluate.py

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

from imclass.core.contracts import Classifier, Dataset, ViewProtocol
from imclass.core.errors import UserError, require
from imclass.core.runtime import Processes, join_processes, keep_memory
from imclass.core.targets import Targets, labels_of, marks_of
from imclass.evaluation.blends import Blend, RowSource, blend_weights, calibrate
from imclass.evaluation.ensemble import Ensemble, EnsembleMember
from imclass.evaluation.held_out import SplitChoice, choose_split, choose_validation
from imclass.evaluation.leaks import SiftedSplit, TrainedPolicy, is_scored_whole, sift
from imclass.evaluation.measures.by_targets import with_scores
from imclass.evaluation.results import Facts, ResultRow, image_names
from imclass.evaluation.score import evaluate_each, view_protocols
from imclass.models.thresholds import fit_thresholds
from imclass.models.views.scales import replace_scales
from imclass.store.context import Context

FIT_THRESHOLDS = "--thresholds fit"
AS_TRAINED = "as trained"  # where no protocol is named
ONE_ROW_MESSAGE = "{} is of one row; name one --protocol, and one model or --weights mean or fit"

Weighting: TypeAlias = Literal["mean", "fit", "none"]


@runtime_checkable
class Progress(Protocol):
    """Anything that watches an evaluation."""

    def note(self, text: str) -> None:
        """Take a sentence that the user should know."""

    def begin(self, what: str) -> None:
        """Take what is about to be scored: which images, and how they are shown."""

    def count(self, what: str, done: int, total: int) -> None:
        """Take how many images of a split are done."""


class SilentProgress:
    """Progress that nobody sees."""

    def note(self, text: str) -> None: ...

    def begin(self, what: str) -> None: ...

    def count(self, what: str, done: int, total: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be scored and fused; `order` has the names of `models` and `saved` as the user gave them.

    `protocols` are by name, {"": None} for each model's own preprocess. Without `data` it is what the models were
    trained from, without `split` what was held out of that; a `Dataset` is one split. With `temperature` the last row
    is calibrated.
    """

    models: Mapping[str, Classifier]
    saved: tuple[ResultRow, ...]
    order: tuple[str, ...]
    protocols: Mapping[str, ViewProtocol | None]
    data: str | Dataset | None = None
    split: str | None = None
    weights: str = "mean"  # or fit, or none
    temperature: bool = False
    thresholds: str = "model"  # or fit
    of_one_label: Mapping[str, str] = field(default_factory=dict)  # what needs one label an image: what else to do
    mapping: Mapping[str, str] | None = None  # the data's class names to the models'
    batch: int = 256
    workers: int = 0
    strict: bool = False
    precision: str = "fp32"
    device: str = "cpu"  # where the networks are
    files: Mapping[str, Path] = field(default_factory=dict)  # that models were read from, by name
    trained: str = "leave-out"  # one of `Trained`: images that a model was trained on

    @property
    def fitting(self) -> str:
        """Return the options that fit something on the validation split, as messages name them."""
        options = {"--weights fit": self.weights == "fit", "--temperature": self.temperature}
        options[FIT_THRESHOLDS] = self.thresholds == "fit"
        return " and ".join(option for option, given in options.items() if given)

    @property
    def several(self) -> bool:
        """Return whether more than one row is last, so that none of them is the result."""
        return len(self.protocols) > 1 or (len(self.order) > 1 and self.weights == "none")

    def check(self) -> None:
        """Raise `UserError` for what cannot be together, before any model is loaded or image scored."""
        require(self.batch >= 1, "batch", self.batch, "at least 1")
        require(self.workers >= 0, "workers", self.workers, "0 or more threads")
        require(self.trained in get_args(TrainedPolicy), "trained", repr(self.trained), "leave-out or include")
        require(self.weights in ("mean", "fit", "none"), "weights", repr(self.weights), "mean, fit or none")
        require(self.thresholds in ("model", "fit"), "thresholds", repr(self.thresholds), "model or fit")
        require(self.precision in ("fp32", "bf16"), "precision", repr(self.precision), "fp32 or bf16")
        if self.several and self.temperature:
            raise UserError(ONE_ROW_MESSAGE.format("--temperature"))
        if isinstance(self.data, Dataset):
            self.check_dataset(self.data)
        if self.saved:
            self.check_saved(self.saved[0].name)

    def check_dataset(self, data: Dataset) -> None:
        """Raise `UserError` for what cannot be done with one split that is given as it is."""
        if self.split not in (None, data.split):
            raise UserError(f"the data is the split {data.split!r}; leave out split, or give the other split as data")
        if self.fitting:
            raise UserError(f"{self.fitting} fits to a validation split; give data as a name or a folder that has one")

    def check_saved(self, first: str) -> None:
        """Raise `UserError` for what saved scores cannot give."""
        if self.fitting:
            raise UserError(f"{first} holds no scores of the validation split to fit to; name the model itself")
        if len(self.protocols) > 1:
            raise UserError(f"{first} was scored under one protocol; name one --protocol for models and saved scores")
        models = len(self.order) > len(self.saved)
        if not models and (any(self.protocols) or self.data is not None or self.split):
            raise UserError(f"{first} has been scored already; --data, --split and --protocol are for models")

    def check_savable(self) -> None:
        """Raise `UserError` where the last row is not of models that a file can hold."""
        if self.precision != "fp32":
            raise UserError("--save keeps float32 weights; go without --precision bf16")
        if self.several:
            raise UserError(ONE_ROW_MESSAGE.format("--save"))
        if self.saved:
            raise UserError(f"{self.saved[0].name} holds scores and no model, so it cannot be part of --save")


def select_protocols(
    protocol: str | ViewProtocol | Sequence[str | ViewProtocol] | None,
    scales: str | Sequence[int] | None,
    context: Context | None = None,
) -> dict[str, ViewProtocol | None]:
    """Return protocols by name, {"": None} where none is given; "center,flip" and "256,384" name several.

    Raise `UserError` for unknown ones, and for scales of a protocol that has none.
    """
    if protocol is None:
        if scales is not None:
            raise UserError("--scales needs a --protocol that takes scales, such as dense or vgg-multicrop")
        return {"": None}
    found = view_protocols(context)
    several = [protocol] if isinstance(protocol, str) or not isinstance(protocol, Sequence) else protocol
    each = [one for item in several for one in (item.split(",") if isinstance(item, str) else [item])]
    chosen = [found[one] if isinstance(one, str) else one for one in each]
    names = [one.name for one in chosen]
    if len(set(names)) < len(names):
        raise UserError(f"--protocol {','.join(names)} names one twice; name each once")
    if scales is not None:
        chosen = [replace_scales(one, parse_scales(scales)) for one in chosen]
    return dict(zip(names, chosen, strict=True))


def parse_scales(scales: Any) -> tuple[int, ...]:
    """Return the numbers in "256,384,512", or in a list; raise `UserError` for anything else."""
    words = scales.split(",") if isinstance(scales, str) else [str(side) for side in scales]
    if not words or not all(word.isdecimal() for word in words):
        raise UserError(f"--scales is {scales!r}; it must be whole numbers of pixels with commas between: 256,384,512")
    return tuple(int(word) for word in words)


def row_sources(request: Request) -> list[RowSource]:
    """Each model under each protocol: all models under the first, then all under the next."""
    return [
        RowSource(model, name, member_of(model, classifier, protocol))
        for name, protocol in request.protocols.items()
        for model, classifier in request.models.items()
    ]


def member_of(name: str, classifier: Classifier, protocol: ViewProtocol | None) -> EnsembleMember:
    """A model under a protocol; one that is shown no views is a `UserError` that names it."""
    try:
        return EnsembleMember(classifier, protocol)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def sift_images(chosen: SplitChoice, request: Request) -> SiftedSplit:
    """Return what is scored of the images chosen: none that a model was trained on, unless these are asked for.

    They are by `--split train`, and they stay in a test split that was published, which is scored as the papers did.
    """
    asked = request.split == "train" or is_scored_whole(chosen.dataset) or request.trained == "include"
    return sift(chosen.dataset, request.models.values(), "include" if asked else "leave-out")


def score_rows(
    ways: Sequence[RowSource],
    chosen: SplitChoice,
    images: SiftedSplit,
    request: Request,
    everyone: Processes,
    progress: Progress,
) -> list[ResultRow]:
    """Return a row for each way, in one pass over the images; in processes other than the first, none."""
    dataset = images.dataset
    members = [way.member for way in ways]
    shown = partial(progress.count, dataset.split) if everyone.rank == 0 else None
    found = evaluate_each(
        members, dataset, request.batch, request.workers, shown, request.mapping, request.strict, everyone
    )
    several = len({way.protocol for way in ways}) > 1
    names = image_names(dataset, found[0]) if found else ()
    rows = []
    for way, evaluation in zip(ways, found, strict=False):  # nothing is found in other processes
        name = f"{way.model}, {way.protocol}" if several else way.model
        facts = Facts((way.model,), way.tested, chosen.said, chosen.data, dataset.split)
        rows.append(ResultRow(name, images.count(evaluation), names, facts))
    return rows


@dataclass(frozen=True)
class Scoring:
    """Every row, those of single models first; what was fused, and from which ways of looking."""

    rows: tuple[ResultRow, ...]
    blends: tuple[Blend, ...]
    row_sources: tuple[RowSource, ...]
    dataset: Dataset | None = None  # that was scored; None where all scores were saved before

    @property
    def ensemble(self) -> Ensemble:
        """Return the classifier that gives the scores of the last row."""
        blend = self.blends[-1] if self.blends else Blend("", (len(self.rows) - 1,), (1.0,))
        return blend.ensemble(self.row_sources)


def plan_blends(rows: Sequence[ResultRow], trials: Sequence[ResultRow], request: Request) -> list[Blend]:
    """What is fused: the rows of each protocol that was asked for, or all; last, where it is wanted, the calibrated."""
    several = len(request.protocols) > 1
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row.facts.tested.protocol if several else "", []).append(i)
    found = []
    for protocol, places in groups.items():
        if len(places) > 1 and request.weights != "none":
            weights = blend_weights([trials[i] for i in places] if request.weights == "fit" else [], len(places))
            shares = f" ({', '.join(f'{w:.3g}' for w in weights)})" if request.weights == "fit" else ""
            found.append(Blend(f"fused{shares}, {protocol}" if several else f"fused{shares}", tuple(places), weights))
    if request.temperature:
        found.append(calibrate(found[-1] if found else Blend(rows[-1].name, (len(rows) - 1,), (1.0,)), trials))
    return found


def score(request: Request, context: Context, progress: Progress) -> Scoring:
    """Return every row in the first process, and none in the others that torchrun started."""
    keep_memory()
    ways, rows, trials = row_sources(request), list[ResultRow](), list[ResultRow]()
    with join_processes() as everyone:
        if ways:
            chosen = choose_images(request, context)
            check_targets(request, chosen.dataset.targets)
            if everyone.rank == 0:
                protocol = ",".join(filter(None, request.protocols)) or AS_TRAINED
                progress.begin(f"{chosen.said}, protocol {protocol}, on {request.device}")
            images = sift_images(chosen, request)  # their files are hashed, which takes less than decoding them will
            if asked := request.fitting:
                fitted = choose_validation(chosen, asked)
                unseen = sift(fitted.dataset, request.models.values(), "leave-out")
                trials = score_rows(ways, fitted, unseen, request, everyone, progress)
            rows = score_rows(ways, chosen, images, request, everyone, progress)
    if everyone.rank:
        return Scoring((), (), tuple(ways))
    for row in request.saved:
        check_targets(request, row.evaluation.targets)
    if request.saved:  # as they were named; each model then has one row
        rows = sorted([*rows, *request.saved], key=lambda row: request.order.index(row.name))
    fused = plan_blends(rows, trials, request)
    rows = [*rows, *(blend.of(rows) for blend in fused)]
    if request.thresholds == "fit":
        trials = [*trials, *(blend.of(trials) for blend in fused)]
        rows = [fit_row_thresholds(row, trial) for row, trial in zip(rows, trials, strict=True)]
    return Scoring(tuple(rows), tuple(fused), tuple(ways), images.dataset if ways else None)


def choose_images(request: Request, context: Context) -> SplitChoice:
    """Return the images that the models are judged by."""
    data = request.data
    if isinstance(data, Dataset):
        name = data.origin.name or data.origin.path
        return SplitChoice(data, f"split {data.split} of {name}", name)
    return choose_split(request.models, data, request.split, context)


def fit_row_thresholds(row: ResultRow, trial: ResultRow) -> ResultRow:
    """Return the row with the thresholds that are best on the validation split."""
    judged = trial.evaluation
    thresholds = fit_thresholds(judged.scores, marks_of(judged.targets, FIT_THRESHOLDS))
    return replace(row, evaluation=with_scores(row.evaluation, row.evaluation.scores, thresholds))


def check_targets(request: Request, targets: Targets) -> None:
    """Raise `UserError` for options that do not go with the images' labels."""
    for option, fix in request.of_one_label.items():
        labels_of(targets, option, fix)
    if request.thresholds == "fit":
        marks_of(targets, FIT_THRESHOLDS)
