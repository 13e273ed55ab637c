"""Scoring of a request: a row for each model and protocol from one pass over the images, then the fused rows."""
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
from imclass.evaluation.measures.growth import old_classes, with_old_classes
from imclass.evaluation.results import Facts, ResultRow, image_names
from imclass.evaluation.score import evaluate_each, view_protocols
from imclass.models.thresholds import fit_thresholds
from imclass.models.views.scales import replace_scales
from imclass.store.context import Context

FIT_THRESHOLDS = "--thresholds fit"
AS_TRAINED = "as trained"  # shown if no protocol is specified
ONE_ROW_MESSAGE = "{} needs a single result; specify one --protocol, and either one model or --weights mean or fit"

Weighting: TypeAlias = Literal["mean", "fit", "none"]


@runtime_checkable
class Progress(Protocol):
    """An observer of an evaluation."""

    def note(self, text: str) -> None:
        """Receive a note for the user."""

    def begin(self, what: str) -> None:
        """Receive a description of what is about to be scored: the images and the protocol."""

    def count(self, what: str, done: int, total: int) -> None:
        """Receive progress: `done` of the `total` images in split `what` have been scored."""


class SilentProgress:
    """A `Progress` that ignores everything."""

    def note(self, text: str) -> None: ...

    def begin(self, what: str) -> None: ...

    def count(self, what: str, done: int, total: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Request:
    """The models to score, the images to score them on, and what to fuse, fit and calibrate."""

    models: Mapping[str, Classifier]
    saved: tuple[ResultRow, ...]
    order: tuple[str, ...]  # names of `models` and `saved`, in the user's order
    protocols: Mapping[str, ViewProtocol | None]  # keyed by name; {"": None} stands for each model's `preprocess`
    data: str | Dataset | None = None  # a `Dataset` is one split; None stands for the models' training data
    split: str | None = None  # None stands for a split that was held out of training
    weights: str = "mean"  # or fit, or none
    temperature: bool = False  # whether to calibrate the last row
    thresholds: str = "model"  # or fit
    single_label_uses: Mapping[str, str] = field(default_factory=dict)  # options that need single labels, with the fix
    mapping: Mapping[str, str] | None = None  # from the data's class names to the models'
    batch: int = 256
    workers: int = 0
    strict: bool = False
    precision: str = "fp32"
    device: str = "cpu"  # where the networks run
    files: Mapping[str, Path] = field(default_factory=dict)  # the models' files, keyed by model name
    trained: str = "leave-out"  # a `TrainedPolicy` for images that a model was trained on

    @property
    def fit_options(self) -> str:
        """Return the options in use that need a validation split to fit to, joined by "and"."""
        options = {"--weights fit": self.weights == "fit", "--temperature": self.temperature}
        options[FIT_THRESHOLDS] = self.thresholds == "fit"
        return " and ".join(option for option, given in options.items() if given)

    @property
    def has_many_results(self) -> bool:
        """Return whether there are several results: for several protocols, or for several models that are not fused."""
        return len(self.protocols) > 1 or (len(self.order) > 1 and self.weights == "none")

    def check(self) -> None:
        """Raise `UserError` for an invalid option or combination of options, before any image is scored."""
        require(self.batch >= 1, "batch", self.batch, "at least 1")
        require(self.workers >= 0, "workers", self.workers, "0 or more threads")
        require(self.trained in get_args(TrainedPolicy), "trained", repr(self.trained), "leave-out or include")
        require(self.weights in ("mean", "fit", "none"), "weights", repr(self.weights), "mean, fit or none")
        require(self.thresholds in ("model", "fit"), "thresholds", repr(self.thresholds), "model or fit")
        require(self.precision in ("fp32", "bf16"), "precision", repr(self.precision), "fp32 or bf16")
        if self.has_many_results and self.temperature:
            raise UserError(ONE_ROW_MESSAGE.format("--temperature"))
        if isinstance(self.data, Dataset):
            self.check_dataset(self.data)
        if self.saved:
            self.check_saved(self.saved[0].name)

    def check_dataset(self, data: Dataset) -> None:
        """Raise `UserError` for options that need a split other than `data`."""
        if self.split not in (None, data.split):
            raise UserError(f"the data is the split {data.split!r}; leave out split, or pass the other split as data")
        if self.fit_options:
            raise UserError(
                f"a validation split is needed for {self.fit_options}; pass the name or folder of data that has one"
            )

    def check_saved(self, first: str) -> None:
        """Raise `UserError` for options that do not work with saved scores. `first` names the first score file."""
        if self.fit_options:
            raise UserError(
                f"{first} has no scores for the validation split, which fitting needs; pass the model instead"
            )
        if len(self.protocols) > 1:
            raise UserError(f"{first} contains scores for only one protocol; use a single --protocol with saved scores")
        models = len(self.order) > len(self.saved)
        if not models and (any(self.protocols) or self.data is not None or self.split):
            raise UserError(f"{first} contains finished scores, so leave out --data, --split and --protocol")

    def check_savable(self) -> None:
        """Raise `UserError` unless the last row's models can be saved in one file."""
        if self.precision != "fp32":
            raise UserError("--save writes float32 weights; leave out --precision bf16")
        if self.has_many_results:
            raise UserError(ONE_ROW_MESSAGE.format("--save"))
        if self.saved:
            raise UserError(f"{self.saved[0].name} contains scores, so --save has no model to write; pass the model")


def select_protocols(
    protocol: str | ViewProtocol | Sequence[str | ViewProtocol] | None,
    scales: str | Sequence[int] | None,
    context: Context | None = None,
) -> dict[str, ViewProtocol | None]:
    """Return protocols keyed by name, or {"": None} if none is given.

    "center,flip" means two protocols, and "256,384" means two scales. Raise `UserError` for an unknown protocol, or if
    scales are given for a protocol that takes none.
    """
    if protocol is None:
        if scales is not None:
            raise UserError("--scales needs a --protocol that has scales, such as dense or vgg-multicrop")
        return {"": None}
    found = view_protocols(context)
    items = [protocol] if isinstance(protocol, str) or not isinstance(protocol, Sequence) else protocol
    wanted = [one for item in items for one in (item.split(",") if isinstance(item, str) else [item])]
    chosen = [found[one] if isinstance(one, str) else one for one in wanted]
    names = [one.name for one in chosen]
    if len(set(names)) < len(names):
        raise UserError(f"--protocol {','.join(names)} lists a protocol twice; list each once")
    if scales is not None:
        chosen = [replace_scales(one, parse_scales(scales)) for one in chosen]
    return dict(zip(names, chosen, strict=True))


def parse_scales(scales: Any) -> tuple[int, ...]:
    """Return the scales in text such as "256,384,512", or in a list. Raise `UserError` for anything else."""
    words = scales.split(",") if isinstance(scales, str) else [str(side) for side in scales]
    if not words or not all(word.isdecimal() for word in words):
        raise UserError(
            f"--scales is {scales!r}; it must be whole numbers of pixels, separated by commas, such as 256,384,512"
        )
    return tuple(int(word) for word in words)


def row_sources(request: Request) -> list[RowSource]:
    """Return every pair of a model and a protocol: all models with the first protocol, then all with the next."""
    return [
        RowSource(model, name, member_of(model, classifier, protocol))
        for name, protocol in request.protocols.items()
        for model, classifier in request.models.items()
    ]


def member_of(name: str, classifier: Classifier, protocol: ViewProtocol | None) -> EnsembleMember:
    """Return an ensemble member that tests a model with a protocol.

    Raise `UserError` if the model cannot be tested with a protocol. The message begins with the model's name.
    """
    try:
        return EnsembleMember(classifier, protocol)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def sift_images(chosen: SplitChoice, request: Request) -> SiftedSplit:
    """Return the images to score in the chosen split: normally those that no model was trained on.

    Images that a model was trained on are included if the user asks for them or for the training split. They are also
    included if the split was published with its data set, because the papers scored such splits in full.
    """
    include = request.split == "train" or is_scored_whole(chosen.dataset) or request.trained == "include"
    return sift(chosen.dataset, request.models.values(), "include" if include else "leave-out")


def score_rows(
    sources: Sequence[RowSource],
    chosen: SplitChoice,
    images: SiftedSplit,
    request: Request,
    processes: Processes,
    progress: Progress,
) -> list[ResultRow]:
    """Score all sources in one pass over the images. Only the first process returns rows, one for each source."""
    dataset = images.dataset
    members = [source.member for source in sources]
    report = partial(progress.count, dataset.split) if processes.rank == 0 else None
    found = evaluate_each(
        members, dataset, request.batch, request.workers, report, request.mapping, request.strict, processes
    )
    many_protocols = len({source.protocol for source in sources}) > 1
    names = image_names(dataset, found[0]) if found else ()
    rows = []
    for source, evaluation in zip(sources, found, strict=False):  # `found` is empty in other processes
        name = f"{source.model}, {source.protocol}" if many_protocols else source.model
        facts = Facts((source.model,), source.tested, chosen.scope, chosen.data, dataset.split)
        complete = with_old_classes(images.with_counts(evaluation), old_classes(source.member))
        rows.append(ResultRow(name, complete, names, facts))
    return rows


@dataclass(frozen=True)
class Scoring:
    """The rows of an evaluation (single models, then fusions), and the models, blends and images that produced them."""

    rows: tuple[ResultRow, ...]
    blends: tuple[Blend, ...]
    row_sources: tuple[RowSource, ...]
    dataset: Dataset | None = None  # the images that were scored; None if all scores came from files

    @property
    def ensemble(self) -> Ensemble:
        """Return the classifier that produces the last row's scores."""
        blend = self.blends[-1] if self.blends else Blend("", (len(self.rows) - 1,), (1.0,))
        return blend.ensemble(self.row_sources)


def plan_blends(rows: Sequence[ResultRow], trials: Sequence[ResultRow], request: Request) -> list[Blend]:
    """Return the blends that the request asks for: one for each protocol, and then a calibrated one.

    `trials` are the same rows on the validation split. The weights and the temperature are fitted to them.
    """
    many_protocols = len(request.protocols) > 1
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row.facts.tested.protocol if many_protocols else "", []).append(i)
    found = []
    for protocol, places in groups.items():
        if len(places) > 1 and request.weights != "none":
            weights = blend_weights([trials[i] for i in places] if request.weights == "fit" else [], len(places))
            name = "fused"
            if request.weights == "fit":
                name += f" ({', '.join(f'{w:.3g}' for w in weights)})"
            if many_protocols:
                name += f", {protocol}"
            found.append(Blend(name, tuple(places), weights))
    if request.temperature:
        found.append(calibrate(found[-1] if found else Blend(rows[-1].name, (len(rows) - 1,), (1.0,)), trials))
    return found


def score(request: Request, context: Context, progress: Progress) -> Scoring:
    """Score the request. Under torchrun, only the first process has rows in its result."""
    keep_memory()
    sources = row_sources(request)
    rows: list[ResultRow] = []
    trials: list[ResultRow] = []  # the same rows on the validation split, if something is fitted
    with join_processes() as processes:
        if sources:
            chosen = choose_images(request, context)
            check_targets(request, chosen.dataset.targets)
            if processes.rank == 0:
                protocol = ",".join(filter(None, request.protocols)) or AS_TRAINED
                progress.begin(f"{chosen.scope}, protocol {protocol}, on {request.device}")
            images = sift_images(chosen, request)  # hashes the files, which takes less time than decoding them
            if options := request.fit_options:
                validation = choose_validation(chosen, options)
                unseen = sift(validation.dataset, request.models.values(), "leave-out")
                trials = score_rows(sources, validation, unseen, request, processes, progress)
            rows = score_rows(sources, chosen, images, request, processes, progress)
    if processes.rank:
        return Scoring((), (), tuple(sources))
    for row in request.saved:
        check_targets(request, row.evaluation.targets)
    if request.saved:  # `Request.check` allows only one protocol, so each row is named after its model
        rows = sorted([*rows, *request.saved], key=lambda row: request.order.index(row.name))
    blends = plan_blends(rows, trials, request)
    rows = [*rows, *(blend.fuse_rows(rows) for blend in blends)]
    if request.thresholds == "fit":
        trials = [*trials, *(blend.fuse_rows(trials) for blend in blends)]
        rows = [fit_row_thresholds(row, trial) for row, trial in zip(rows, trials, strict=True)]
    return Scoring(tuple(rows), tuple(blends), tuple(sources), images.dataset if sources else None)


def choose_images(request: Request, context: Context) -> SplitChoice:
    """Return the split to score the models on."""
    data = request.data
    if isinstance(data, Dataset):
        name = data.origin.name or data.origin.path
        return SplitChoice(data, f"split {data.split} of {name}", name)
    return choose_split(request.models, data, request.split, context)


def fit_row_thresholds(row: ResultRow, trial: ResultRow) -> ResultRow:
    """Return the row with thresholds fitted to `trial`, the same row on the validation split."""
    fitted = trial.evaluation
    thresholds = fit_thresholds(fitted.scores, marks_of(fitted.targets, FIT_THRESHOLDS))
    return replace(row, evaluation=with_scores(row.evaluation, row.evaluation.scores, thresholds))


def check_targets(request: Request, targets: Targets) -> None:
    """Raise `UserError` for options that do not work with the kind of labels that the images have."""
    for option, fix in request.single_label_uses.items():
        labels_of(targets, option, fix)
    if request.thresholds == "fit":
        marks_of(targets, FIT_THRESHOLDS)
