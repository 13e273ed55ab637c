"""Score a split of a data set: every image is either counted or named as refused."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from imclass.core.classes import join
from imclass.core.config import Found, find, need
from imclass.core.contracts import Classifier, Dataset, Evaluation, Image, Refused, TestProtocol
from imclass.core.errors import BadImage, UserError, printable
from imclass.data.loader import ordered, untouched
from imclass.evaluate.metrics import cross_entropy, top_k
from imclass.evaluate.views import to_batch

AT_ONCE = 256 * 2**20  # bytes of decoded images held before they are scored, whatever the batch


def protocols(plugins: Sequence[Path] = ()) -> Found:
    """Every test protocol there is, by name."""
    return find("imclass.evaluate.protocols", "PROTOCOLS", "protocol", plugins)


def evaluate(
    classifier: Classifier,
    dataset: Dataset,
    protocol: TestProtocol | None = None,
    batch: int = 256,
    workers: int = 0,
    report: Callable[[int, int], None] | None = None,
    mapping: Mapping[str, str] | None = None,
    strict: bool = False,
) -> Evaluation:
    """Scores of a whole split, its mean cross-entropy and its top-1 and top-5 accuracy.

    Without a `protocol` each image is seen as in training, by the classifier's own preprocess ("native").
    Labels are joined to the model's classes by name (`mapping`: data name to model name). A refused image is named and
    left out, or with `strict` a `UserError`. `report(done, total)` is called after each batch. Neither `batch` nor
    `workers` (decoding threads) changes the result. Top-5 counts the best K where there are fewer than five classes.
    """
    need(batch >= 1, "batch", batch, "at least 1")
    labels = join(dataset.classes, classifier.classes, mapping, dataset.origin.path)[dataset.labels]
    total = len(dataset)
    rows: list[Float[np.ndarray, "n K"]] = []
    kept: list[int] = []
    refused: list[Refused] = []
    for part in parts(classifier, dataset, protocol, batch, workers):
        if strict and part.refused:
            raise UserError(f"refused: {described(part.refused[0])}; mend or remove the file, or go without --strict")
        check_finite(part, dataset)
        rows.append(part.scores)
        kept += part.kept
        refused += part.refused
        if report is not None:
            report(len(kept) + len(refused), total)
    check_some(kept, refused, dataset)
    scores, labels = np.concatenate(rows), labels[kept]
    return Evaluation(
        classes=classifier.classes,
        labels=labels,
        scores=scores,
        ids=dataset.ids[kept],
        total=total,
        refused=tuple(refused),
        loss=cross_entropy(scores, labels),
        top1=top_k(scores, labels, 1) / len(labels),
        top5=top_k(scores, labels, 5) / len(labels),
    )


@dataclass(frozen=True)
class Part:
    """A few consecutive images: the positions of those that were scored, their scores, and what was refused."""

    kept: list[int]
    scores: Float[np.ndarray, "n K"]
    refused: list[Refused]


def parts(
    classifier: Classifier,
    dataset: Dataset,
    protocol: TestProtocol | None,
    batch: int,
    workers: int,
) -> Iterator[Part]:
    """The data set in order. One that lies in memory as the network wants it is scored without touching single ones."""
    array, preprocess = dataset.array, getattr(classifier, "preprocess", None)
    if protocol is None and array is not None and preprocess and untouched(preprocess, array.shape[1:]):
        for start in range(0, len(array), batch):
            views = array[start : start + batch]
            scores = classifier.scores(to_batch(views))
            yield Part(list(range(start, start + len(views))), scores.numpy(), [])
        return
    for chunk in chunks(dataset, batch, workers):
        images = {i: item for i, item in chunk if not isinstance(item, BadImage)}
        bad = [item for _, item in chunk if isinstance(item, BadImage)]
        seen = list(images.values())
        scores = classifier.classify(seen) if protocol is None else protocol(classifier, seen)
        yield Part(list(images), scores.numpy(), [Refused(b.path, b.code, b.detail) for b in bad])


def chunks(dataset: Dataset, batch: int, workers: int) -> Iterator[list[tuple[int, Image | BadImage]]]:
    """Positions and decoded images in order, at most `batch` at a time and fewer where the images are large."""
    chunk: list[tuple[int, Image | BadImage]] = []
    held = 0
    for i, item in enumerate(ordered(dataset, np.arange(len(dataset)), workers)):
        chunk.append((i, item))
        held += 0 if isinstance(item, BadImage) else item.nbytes
        if len(chunk) == batch or held >= AT_ONCE:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def check_some(kept: list[int], refused: list[Refused], dataset: Dataset) -> None:
    """A split of which nothing was scored is a `UserError` that says why."""
    if not kept:
        why = (
            f"all {len(refused):,} images were refused, first {described(refused[0])}"
            if refused
            else "it has no images"
        )
        raise UserError(f"there is nothing to evaluate in split {dataset.split!r} of {dataset.origin.path}: {why}")


def check_finite(part: Part, dataset: Dataset) -> None:
    """Scores with a NaN or an infinity are a `UserError` that names the first such image."""
    wrong = np.flatnonzero(~np.isfinite(part.scores).all(axis=1))
    if len(wrong):
        name = printable(dataset.name(part.kept[wrong[0]]))
        raise UserError(
            f"the model's scores for {name} are not finite: its training diverged or its weights are damaged; "
            "take an earlier checkpoint, or train again with a lower learning rate"
        )


def described(refused: Refused) -> str:
    """A refused file on one line, safe to print."""
    return printable(f"{refused.path}: {refused.detail} ({refused.code})")
