"""Scoring of a split: every image is either scored or reported as refused."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int64, UInt8

from imclass.core.classes import join_classes
from imclass.core.contracts import Classifier, Dataset, Evaluation, Image, NetworkBacked, Refused, ViewProtocol, Watch
from imclass.core.errors import BadImage, UserError, require
from imclass.core.runtime import Processes
from imclass.core.tables import EntryTable
from imclass.core.targets import Targets
from imclass.core.text import printable_text
from imclass.data.loader import is_identity
from imclass.data.threads import decode_in_order
from imclass.evaluation.ensemble import EnsembleMember
from imclass.evaluation.measures.by_targets import check_link, evaluation_of
from imclass.models.views.batches import to_batch
from imclass.store.context import Context, find_in

MAX_CHUNK_BYTES = 256 * 2**20  # a chunk ends when its decoded images reach this size, even if the batch is not full
# The largest batch for protocols that may score a hundred views of each image. Progress is reported after each batch,
# and a larger batch could take minutes.
MULTI_VIEW_BATCH = 28
ONE_PROCESS = Processes()

ProgressCallback = Callable[[int, int], None]


def view_protocols(context: Context | None = None) -> EntryTable:
    """Return all test protocols keyed by name. Invalid and misnamed entries are listed as failures."""
    found = find_in(context, "imclass.evaluation.protocols", "PROTOCOLS", "protocol")
    wrong = {name: flaw for name, entry in found.entries.items() if (flaw := protocol_flaw(name, entry))}
    usable = {name: entry for name, entry in found.entries.items() if name not in wrong}
    return replace(found, entries=usable, failures=(*found.failures, *wrong.values()))


def protocol_flaw(name: str, protocol: object) -> str:
    """Return what is wrong with the entry for a protocol, or "" if it is valid."""
    if not isinstance(protocol, ViewProtocol):
        return f"protocol {name}: it must have name, scales_for(preprocess) and check(classifier), and be callable"
    return "" if protocol.name == name else f"protocol {name}: its name is {protocol.name!r}; it must be {name!r}"


def evaluate(
    classifier: Classifier,
    dataset: Dataset,
    protocol: ViewProtocol | None = None,
    batch: int = 256,
    workers: int = 0,
    report: ProgressCallback | None = None,
    mapping: Mapping[str, str] | None = None,
    strict: bool = False,
    watch: Watch | None = None,
) -> Evaluation:
    """Score a whole split, and return the scores with their measures.

    The measures are loss and accuracies, or mean average precision and F1. Without a `protocol`, each image is prepared
    by the classifier's `preprocess`. The other arguments are those of `evaluate_each`.
    """
    members = [EnsembleMember(classifier, protocol)]
    return evaluate_each(members, dataset, batch, workers, report, mapping, strict, watch=watch)[0]


def evaluate_each(
    members: Sequence[EnsembleMember],
    dataset: Dataset,
    batch: int = 256,
    workers: int = 0,
    report: ProgressCallback | None = None,
    mapping: Mapping[str, str] | None = None,
    strict: bool = False,
    processes: Processes = ONE_PROCESS,
    watch: Watch | None = None,
) -> list[Evaluation]:
    """Return an `Evaluation` for each member, from one pass over the split that decodes each image once.

    Labels are matched to each member's classes by name; `mapping` translates the data's names to the models'. A refused
    image is left out and listed in the result. If `strict` is set, `UserError` is raised instead. `report(done, total)`
    is called after each batch of this process's images. `watch()` is called before each image or batch, and may raise
    `Interrupted`, which also ends the decoding threads. The callbacks and `workers` do not affect the results. `batch`
    and the number of processes may change log-scores by about 1e-5 of their scale, because they change the order in
    which a network adds numbers. The first process returns all results, and the others return an empty list.
    """
    require(batch >= 1, "batch", batch, "at least 1")
    for member in members:
        check_link(member.link, dataset.targets, dataset.origin.path)
    each = [joined_targets(member.classes, dataset, mapping) for member in members]
    for member in members:
        member.check()
    mine: ScoredChunk | UserError
    try:
        mine = score_share(members, dataset, processes.share(len(dataset)), batch, workers, report, strict, watch)
    except UserError as error:
        mine = error  # raised by `check_shares` in the first process, because raising it here would block the others
    shares = check_shares(processes.gather_objects(mine))
    if not shares:
        return []
    kept = np.concatenate([part.kept for part in shares])
    refused = [r for part in shares for r in part.refused]
    check_any_scored(len(kept), refused, dataset)
    return [
        evaluation_of(
            member.classes,
            targets[kept],
            join_scores([part.scores[i] for part in shares]),
            dataset.ids[kept],
            len(dataset),
            tuple(refused),
            member.thresholds,
        )
        for i, (member, targets) in enumerate(zip(members, each, strict=True))
    ]


def evaluate_scored(classifier: Classifier, dataset: Dataset, scored: "ScoredChunk", strict: bool) -> Evaluation:
    """Return the evaluation of a whole split that a classifier has already scored.

    Raise `UserError` in the same cases as `evaluate_each`.
    """
    check_link(classifier.link, dataset.targets, dataset.origin.path)
    targets = joined_targets(classifier.classes, dataset)
    check_chunk(scored, dataset, strict)
    check_any_scored(len(scored.kept), scored.refused, dataset)
    (scores,) = scored.scores
    ids, refused = dataset.ids[scored.kept], tuple(scored.refused)
    return evaluation_of(
        classifier.classes, targets[scored.kept], scores, ids, len(dataset), refused, classifier.thresholds
    )


def joined_targets(classes: tuple[str, ...], dataset: Dataset, mapping: Mapping[str, str] | None = None) -> Targets:
    """Return the targets of a split, with each class renumbered to the position of its name in `classes`."""
    numbers = join_classes(dataset.classes, classes, mapping, dataset.origin.path)
    return dataset.targets.renumber(numbers, len(classes))


def check_shares(shares: Sequence["ScoredChunk | UserError"]) -> "list[ScoredChunk]":
    """Return the chunks of all processes. If any process failed, raise the error of the first one that did."""
    for share in shares:
        if isinstance(share, UserError):
            raise share
    return [share for share in shares if isinstance(share, ScoredChunk)]


def join_scores(scores: Sequence[Float[np.ndarray, "_ K"]]) -> Float[np.ndarray, "N K"]:
    """Join the scores from all processes in order. The scores of a single process are not copied."""
    return np.concatenate(scores) if len(scores) > 1 else scores[0]


@dataclass(frozen=True)
class ScoredChunk:
    """The results for consecutive images, each of which was scored or refused."""

    kept: Int64[np.ndarray, "n"]  # positions of the scored images in the data set
    scores: list[Float[np.ndarray, "n _"]]  # of these images, an array for each member
    refused: list[Refused]


def score_share(
    members: Sequence[EnsembleMember],
    dataset: Dataset,
    positions: range,
    batch: int,
    workers: int,
    report: ProgressCallback | None,
    strict: bool,
    watch: Watch | None = None,
) -> ScoredChunk:
    """Score the images at `positions`, and return one chunk. Only one batch of images is in memory at a time."""
    kept: list[int] = []
    refused: list[Refused] = []
    scores = [np.empty((len(positions), len(member.classes)), np.float32) for member in members]
    for part in score_chunks(members, dataset, positions, batch, workers, watch or continue_scoring):
        check_chunk(part, dataset, strict)
        for all_scores, some in zip(scores, part.scores, strict=True):
            all_scores[len(kept) : len(kept) + len(some)] = some
        kept += part.kept.tolist()
        refused += part.refused
        if report is not None:
            report(len(kept) + len(refused), len(positions))
    return ScoredChunk(np.array(kept, np.int64), [s[: len(kept)] for s in scores], refused)


def check_chunk(part: ScoredChunk, dataset: Dataset, strict: bool) -> None:
    """Raise `UserError` if any score is not finite, or if `strict` is set and an image was refused."""
    if strict and part.refused:
        raise UserError(f"refused: {describe_refusal(part.refused[0])}; fix or remove the file, or drop --strict")
    for scores in part.scores:
        check_finite_part(scores, part.kept, dataset)


def continue_scoring() -> None:
    """Do nothing, so that scoring continues."""


def score_chunks(
    members: Sequence[EnsembleMember],
    dataset: Dataset,
    positions: range,
    batch: int,
    workers: int,
    watch: Watch = continue_scoring,
) -> Iterator[ScoredChunk]:
    """Score the images at `positions` in order, and yield them in chunks.

    If the images are an array and need no preprocessing, slices of the array are scored directly.
    """
    array = dataset.array
    networks = [direct_network(member, array) for member in members] if array is not None else [None]
    if array is not None and all(networks):
        for start in range(positions.start, positions.stop, batch):
            watch()
            stop = min(start + batch, positions.stop)
            views = to_batch(array[start:stop])
            yield ScoredChunk(np.arange(start, stop), [n.scores(views).numpy() for n in networks if n], [])
        return
    max_images = min(batch, MULTI_VIEW_BATCH) if array is None and any(map(has_many_views, members)) else batch
    with contextlib.closing(image_chunks(dataset, positions, max_images, workers, watch)) as found:
        for chunk in found:
            images = {i: item for i, item in chunk if not isinstance(item, BadImage)}
            bad = [item for _, item in chunk if isinstance(item, BadImage)]
            decoded = list(images.values())
            scores = [member.classify(decoded).numpy() for member in members]
            yield ScoredChunk(
                np.array(list(images), np.int64), scores, [Refused(b.path, b.code, b.detail) for b in bad]
            )


def has_many_views(member: EnsembleMember) -> bool:
    """Return whether a member may score many views of each image."""
    return bool(member.protocols()) or member.network is None


def direct_network(member: EnsembleMember, array: UInt8[np.ndarray, "N H W C"]) -> NetworkBacked | None:
    """Return the member's network if it can score the images in an array without preprocessing, otherwise None."""
    network = member.network
    if member.protocol is not None or network is None:
        return None
    return network if is_identity(network.preprocess, array.shape[1:]) else None


def image_chunks(
    dataset: Dataset, positions: range, batch: int, workers: int, watch: Watch = continue_scoring
) -> Generator[list[tuple[int, Image | BadImage]], None, None]:
    """Yield positions and decoded images in order. A list has at most `batch` images, and fewer if they are large."""
    chunk: list[tuple[int, Image | BadImage]] = []
    held = 0
    with contextlib.closing(decode_in_order(dataset, np.arange(positions.start, positions.stop), workers)) as items:
        for i in positions:
            watch()
            item = next(items)
            chunk.append((i, item))
            held += 0 if isinstance(item, BadImage) else item.nbytes
            if len(chunk) == batch or held >= MAX_CHUNK_BYTES:
                yield chunk
                chunk, held = [], 0
    if chunk:
        yield chunk


def check_any_scored(kept: int, refused: list[Refused], dataset: Dataset) -> None:
    """Raise `UserError` with the reason if no image of the split was scored."""
    if kept:
        return
    why = "it has no images"
    if refused:
        why = f"all {len(refused):,} images were refused, the first being {describe_refusal(refused[0])}"
    raise UserError(f"there is nothing to evaluate in split {dataset.split!r} of {dataset.origin.path}: {why}")


def check_finite_part(scores: Float[np.ndarray, "n K"], kept: Int64[np.ndarray, "n"], dataset: Dataset) -> None:
    """Raise `UserError` if any scores contain NaN or infinity. The message names the first image with such scores."""
    wrong = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(wrong):
        name = printable_text(dataset.name(int(kept[wrong[0]])))
        raise UserError(
            f"the model's scores for {name} are not finite: training diverged or the weights are damaged. "
            "Train again with a lower learning rate, or use another model"
        )


def describe_refusal(refused: Refused) -> str:
    """Return the path of a refused file and the reason, on one line that is safe to print."""
    return printable_text(f"{refused.path}: {refused.detail} ({refused.code})")
