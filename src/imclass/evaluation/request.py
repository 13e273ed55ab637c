"""A request to score classifiers: a row for each model and protocol, from one pass over the images; rows of fusions."""
# Tested in tests/app/verbs/test_evaluate.py

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from imclass.core.contracts import Classifier, Dataset, ViewProtocol
from imclass.core.errors import UserError
from imclass.core.runtime import Processes, keep_memory, processes
from imclass.core.targets import Targets, labels_of, marks_of
from imclass.evaluation.ensemble import Ensemble, Member
from imclass.evaluation.fusion import fit_weights, fuse
from imclass.evaluation.held_out import Chosen, split_for, validation_for
from imclass.evaluation.leaks import Sifted, Trained, is_published, sift
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.measures.calibration import fit_temperature
from imclass.evaluation.papers.render import net_of
from imclass.evaluation.papers.table import Net, Tested
from imclass.evaluation.results import Facts, Row, check_images, names_of
from imclass.evaluation.score import Report, evaluate_each, protocols
from imclass.models.thresholds import fit_thresholds
from imclass.models.views.scales import with_scales
from imclass.store.context import Context

AS_TRAINED = "as trained"  # where no protocol is named
FIT = "--thresholds fit"


Progress: TypeAlias = Callable[[str], AbstractContextManager[Report | None]]  # of a split's name


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be scored and fused; `order` has the names of `models` and `saved` as the user gave them.

    `protocols` are by name, {"": None} for each model's own preprocess. Without `data` it is what the models were
    trained from, without `split` what was held out of that. With `temperature` the last row is calibrated.
    """

    models: Mapping[str, Classifier]
    saved: tuple[Row, ...]
    order: tuple[str, ...]
    protocols: Mapping[str, ViewProtocol | None]
    data: str | None = None
    split: str | None = None
    weights: Literal["mean", "fit", "none"] = "mean"
    temperature: bool = False
    thresholds: Literal["model", "fit"] = "model"
    of_one_label: Mapping[str, str] = field(default_factory=dict)  # what needs one label an image: what else to do
    mapping: Mapping[str, str] | None = None  # the data's class names to the models'
    batch: int = 256
    workers: int = 0
    strict: bool = False
    trained: Trained = "leave-out"  # images that a model was trained on

    @property
    def fitting(self) -> str:
        """The options that fit something on the validation split, as messages name them."""
        options = {"--weights fit": self.weights == "fit", "--temperature": self.temperature}
        options[FIT] = self.thresholds == "fit"
        return " and ".join(option for option, given in options.items() if given)


@dataclass(frozen=True)
class Way:
    """A model under a protocol, "" where it is looked at as in training: what a row is made of."""

    model: str
    protocol: str
    member: Member

    @property
    def tested(self) -> Tested:
        """What a paper's table would call it."""
        return Tested(tuple(nets_of(self.member)), self.protocol, self.model)


def nets_of(member: Member) -> list[Net]:
    """The networks of a member, each with its S and Q."""
    shown = member.protocols()
    return [net_of(network, shown.get(name)) for name, network in member.networks().items()]


def looks(names: str | None, scales: str | None, context: Context | None = None) -> dict[str, ViewProtocol | None]:
    """Return the protocols of "center,flip" by name, at the scales of "256,384"; raise `UserError` for unknown ones."""
    if names is None:
        if scales is not None:
            raise UserError("--scales needs a --protocol that takes scales, such as dense or vgg-multicrop")
        return {"": None}
    found, each = protocols(context), names.split(",")
    if len(set(each)) < len(each):
        raise UserError(f"--protocol {names} names one twice; name each once")
    chosen: dict[str, ViewProtocol | None] = {name: found[name] for name in each}
    if scales is not None:
        chosen = {name: with_scales(found[name], sides(scales)) for name in each}
    return chosen


def sides(scales: str) -> tuple[int, ...]:
    """The numbers in "256,384,512"; anything else is a `UserError`."""
    words = scales.split(",")
    if not all(word.isdecimal() for word in words):
        raise UserError(f"--scales is {scales!r}; it must be whole numbers of pixels with commas between: 256,384,512")
    return tuple(int(word) for word in words)


def ways_of(request: Request) -> list[Way]:
    """Each model under each protocol: all models under the first, then all under the next."""
    return [
        Way(model, name, member_of(model, classifier, protocol))
        for name, protocol in request.protocols.items()
        for model, classifier in request.models.items()
    ]


def member_of(name: str, classifier: Classifier, protocol: ViewProtocol | None) -> Member:
    """A model under a protocol; one that is shown no views is a `UserError` that names it."""
    try:
        return Member(classifier, protocol)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def sifted(chosen: Chosen, request: Request) -> Sifted:
    """Return what is scored of the images chosen: none that a model was trained on, unless these are asked for.

    They are by `--split train`, and they stay in a test split that was published, which is scored as the papers did.
    """
    asked = request.split == "train" or is_published(chosen.dataset)
    return sift(chosen.dataset, request.models.values(), "include" if asked else request.trained)


def scored(
    ways: Sequence[Way],
    chosen: Chosen,
    images: Sifted,
    request: Request,
    everyone: Processes,
    progress: Progress,
) -> list[Row]:
    """Return a row for each way, in one pass over the images; in processes other than the first, none."""
    dataset = images.dataset
    with progress(dataset.split) as report:
        members = [way.member for way in ways]
        shown = report if everyone.rank == 0 else None
        found = evaluate_each(
            members, dataset, request.batch, request.workers, shown, request.mapping, request.strict, everyone
        )
    several = len({way.protocol for way in ways}) > 1
    names = names_of(dataset, found[0]) if found else ()
    rows = []
    for way, evaluation in zip(ways, found, strict=False):  # nothing is found in other processes
        name = f"{way.model}, {way.protocol}" if several else way.model
        facts = Facts((way.model,), way.tested, chosen.said, chosen.data, dataset.split)
        rows.append(Row(name, images.count(evaluation), names, facts))
    return rows


@dataclass(frozen=True)
class Blend:
    """Which rows are fused, with which weights and temperature; `name` is of the row that comes of it."""

    name: str
    places: tuple[int, ...]
    weights: tuple[float, ...]
    temperature: float = 1.0

    def of(self, rows: Sequence[Row]) -> Row:
        """The fused row."""
        chosen = [rows[i] for i in self.places]
        check_images(chosen)
        evaluation = fuse([row.evaluation for row in chosen], self.weights, self.temperature)
        facts = [row.facts for row in chosen]
        protocols = {f.tested.protocol for f in facts}
        fused = replace(
            facts[0],
            models=tuple(name for f in facts for name in f.models),
            tested=Tested(
                tuple(net for f in facts for net in f.tested.nets),
                protocols.pop() if len(protocols) == 1 else "",
                self.name,
            ),
            weights=self.weights,
            temperature=self.temperature,
        )
        return Row(self.name, evaluation, chosen[0].images, fused)

    def ensemble(self, ways: Sequence[Way]) -> Ensemble:
        """The classifier that would have given these scores."""
        members = zip((ways[i].member for i in self.places), self.weights, strict=True)
        return Ensemble(tuple(Member(m.classifier, m.protocol, weight) for m, weight in members), self.temperature)


@dataclass(frozen=True)
class Scored:
    """Every row, those of single models first; what was fused, and from which ways of looking."""

    rows: list[Row]
    blends: list[Blend]
    ways: list[Way]
    dataset: Dataset | None = None  # that was scored; None where all scores were saved before


def blends(rows: Sequence[Row], trials: Sequence[Row], request: Request) -> list[Blend]:
    """What is fused: the rows of each protocol that was asked for, or all; last, where it is wanted, the calibrated."""
    several = len(request.protocols) > 1
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row.facts.tested.protocol if several else "", []).append(i)
    found = []
    for protocol, places in groups.items():
        if len(places) > 1 and request.weights != "none":
            weights = weights_of([trials[i] for i in places] if request.weights == "fit" else [], len(places))
            shares = f" ({', '.join(f'{w:.3g}' for w in weights)})" if request.weights == "fit" else ""
            found.append(Blend(f"fused{shares}, {protocol}" if several else f"fused{shares}", tuple(places), weights))
    if request.temperature:
        found.append(calibrated(found[-1] if found else Blend(rows[-1].name, (len(rows) - 1,), (1.0,)), trials))
    return found


def weights_of(trials: Sequence[Row], n: int) -> tuple[float, ...]:
    """Weights fitted on the rows of the validation split, or the same for each."""
    return fit_weights([row.evaluation for row in trials]) if trials else (1 / n,) * n


def calibrated(blend: Blend, trials: Sequence[Row]) -> Blend:
    """The same with the temperature that is best on the validation split."""
    trial = blend.of(trials).evaluation
    temperature = fit_temperature(trial.scores, labels_of(trial.targets, "--temperature"))
    return Blend(f"{blend.name}, temperature {temperature:.4g}", blend.places, blend.weights, temperature)


def score(request: Request, context: Context, announce: Callable[[str], None], progress: Progress) -> Scored | None:
    """Return every row in the first process, `None` in the others; `announce` is told what is about to be scored."""
    keep_memory()
    ways, rows, trials = ways_of(request), list[Row](), list[Row]()
    with processes() as everyone:
        if ways:
            chosen = split_for(request.models, request.data, request.split, context)
            check_targets(request, chosen.dataset.targets)
            if everyone.rank == 0:
                announce(f"{chosen.said}, protocol {','.join(filter(None, request.protocols)) or AS_TRAINED}")
            images = sifted(chosen, request)  # their files are hashed, which takes less than decoding them will
            if asked := request.fitting:
                fitted = validation_for(chosen, asked, context)
                unseen = sift(fitted.dataset, request.models.values(), "leave-out")
                trials = scored(ways, fitted, unseen, request, everyone, progress)
            rows = scored(ways, chosen, images, request, everyone, progress)
    if everyone.rank:
        return None
    for row in request.saved:
        check_targets(request, row.evaluation.targets)
    if request.saved:  # as they were named; each model then has one row
        rows = sorted([*rows, *request.saved], key=lambda row: request.order.index(row.name))
    fused = blends(rows, trials, request)
    rows = [*rows, *(blend.of(rows) for blend in fused)]
    if request.thresholds == "fit":
        trials = [*trials, *(blend.of(trials) for blend in fused)]
        rows = [with_thresholds(row, trial) for row, trial in zip(rows, trials, strict=True)]
    return Scored(rows, fused, ways, images.dataset if ways else None)


def with_thresholds(row: Row, trial: Row) -> Row:
    """Return the row with the thresholds that are best on the validation split."""
    e, judged = row.evaluation, trial.evaluation
    thresholds = fit_thresholds(judged.scores, marks_of(judged.targets, FIT))
    evaluation = evaluation_of(e.classes, e.targets, e.scores, e.ids, e.total, e.refused, thresholds)
    return replace(row, evaluation=replace(evaluation, left_out=e.left_out, trained_on=e.trained_on))


def check_targets(request: Request, targets: Targets) -> None:
    """Raise `UserError` for options that do not go with the images' labels."""
    for option, fix in request.of_one_label.items():
        labels_of(targets, option, fix)
    if request.thresholds == "fit":
        marks_of(targets, FIT)
