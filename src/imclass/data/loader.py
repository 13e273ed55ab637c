"""Batches of augmented training views. Views that do not fit in memory are decoded in advance by threads.

The contents of batch k of an epoch depend only on (seed, epoch, k). They do not depend on the number of workers
or on where an epoch is resumed. A refused image is reported and left out: its part of the batch becomes smaller, and
the other images stay the same.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, islice
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from imclass.core.config import Augment
from imclass.core.contracts import Dataset, Image, Refused
from imclass.core.errors import BadImage
from imclass.core.preprocess import Preprocess
from imclass.core.randomness import Draws
from imclass.core.targets import Soft, StepTargets, labels_of
from imclass.data.augment import colour, measuring, mixing, window
from imclass.data.balance import order_in_turns, repeat_ids
from imclass.data.order import batch_count, cut_batches, divide_batch
from imclass.data.threads import attempt, map_in_order

# Images of an epoch. A ticket is an image's position in the data set, plus the data set's length times the image's
# repeat. In a balanced epoch, `order_in_turns` assigns the repeats. Otherwise, they are 0.
Tickets: TypeAlias = Int64[np.ndarray, "_"]
ViewResult: TypeAlias = Image | BadImage  # a view, or the error of a refused image
PartTickets: TypeAlias = Mapping[int, Tickets]  # the parts of a batch that one process decodes, keyed by number


@dataclass(frozen=True, eq=False)
class Part:
    """A logical part of a batch, possibly empty. Batch norm computes its statistics over one part."""

    images: UInt8[Tensor, "N C H W"] | Float32[Tensor, "N C H W"]  # blended images are floats in [0, 1]
    targets: StepTargets  # `Soft` if images are mixed
    ids: Int64[np.ndarray, "N"]
    positions: Int64[np.ndarray, "N"]  # in the data set
    refused: tuple[Refused, ...] = ()  # images left out of the part


@dataclass(frozen=True, eq=False)
class Batch:
    """Those parts of a batch from which this process learns."""

    parts: Mapping[int, Part]  # keyed by number, ascending
    count: int  # parts of the step, including the parts of other processes
    waited: float = 0.0  # seconds that the consumer waited for this batch

    def __len__(self) -> int:
        """Return the number of images in these parts."""
        return sum(len(part.positions) for part in self.parts.values())

    @property
    def refused(self) -> tuple[Refused, ...]:
        """The refused images of these parts, in the order of the parts."""
        return tuple(chain.from_iterable(part.refused for part in self.parts.values()))


@dataclass(frozen=True, eq=False)
class Views:
    """Views of some images.

    `good` is true for each image that could be decoded. `images` contains only the views of these images, and `refused`
    describes the others, keyed by position or, within an epoch, by ticket.
    """

    images: UInt8[np.ndarray, "_ _ _ _"]
    good: Bool[np.ndarray, "N"]
    refused: Mapping[int, Refused]


@dataclass(frozen=True, eq=False)
class KeptViews:
    """The preprocessed views of all images, and the original heights and widths of the images."""

    views: Views
    sizes: Int64[np.ndarray, "N 2"]

    @cached_property
    def rows(self) -> Int64[np.ndarray, "N"]:
        """The row in `views.images` of each image's view. The rows of refused images are meaningless."""
        return np.cumsum(self.views.good, dtype=np.int64) - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Loader:
    """A loader of batches from one split. The last batch of an epoch may be smaller, but it is not dropped.

    Views at the network's input size are kept in memory if they need at most `memory_mib` MiB, unless each epoch crops
    the source images anew. Images are decoded by `workers` threads, or by the caller if `workers` is 0. The
    results do not depend on `workers`.
    """

    dataset: Dataset
    preprocess: Preprocess
    augment: tuple[Augment, ...]
    fill: UInt8[Tensor, "C"]
    batch: int
    seed: int
    parts: int = 1  # logical parts of a batch; a batch with too few images has fewer
    pairs: bool = False  # whether each part needs at least two images, for batch norm
    workers: int = 0
    memory_mib: int = 2048
    balanced: bool = False  # whether all classes are equally frequent in an epoch

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return batch_count(len(self.dataset), self.batch, self.pairs)

    @property
    def in_memory(self) -> bool:
        """Whether the views of all images are kept in memory."""
        if window.has_source_boxes(self.augment):
            return False
        needed = len(self.dataset) * self.preprocess.size**2 * self.preprocess.w_in
        return self.ready_array is not None or needed <= self.memory_mib << 20

    @property
    def ready_array(self) -> UInt8[np.ndarray, "N H W C"] | None:
        """The data set's array, if preprocessing would leave its images unchanged; otherwise None."""
        array = self.dataset.array
        return array if array is not None and is_identity(self.preprocess, array.shape[1:]) else None

    @cached_property
    def kept(self) -> KeptViews:
        """The preprocessed views of all images, N H W C. The images are decoded once, on first access."""
        everything = np.arange(len(self.dataset))
        sizes = np.zeros((len(everything), 2), np.int64)
        if self.ready_array is not None:
            sizes[:] = self.ready_array.shape[1:3]
            return KeptViews(Views(self.ready_array, np.ones(len(everything), bool), {}), sizes)
        with contextlib.closing(self.map_images(partial(self.measured_view, sizes), everything.tolist())) as results:
            return KeptViews(take_views(everything, results, self.shape), sizes)

    def with_fill(self, fill: UInt8[Tensor, "C"]) -> "Loader":
        """Return a loader of the same images with another fill colour. The new loader shares the kept views."""
        return self.share_kept(replace(self, fill=fill))

    def with_measured(self, measured: Mapping[str, Float32[np.ndarray, "C C"]]) -> "Loader":
        """Return a loader whose augmentations use numbers measured from the training images, keyed by kind.

        The new loader shares the kept views.
        """
        return self.share_kept(replace(self, augment=measuring.with_measured(self.augment, measured)))

    def share_kept(self, other: "Loader") -> "Loader":
        """Let `other` use the kept views of this loader, and return it."""
        other.__dict__.update({name: value for name, value in self.__dict__.items() if name == "kept"})
        return other

    def rgb_views(self) -> Iterator[UInt8[np.ndarray, "_ _ _ _"]]:
        """Yield the arrays of `views` with the channels in the order RGB."""
        step = -1 if self.preprocess.channels == "bgr" else 1
        return (array[..., ::step] for array in self.views())

    def forget(self) -> None:
        """Discard the kept views. If views are needed later, the images are decoded again."""
        self.__dict__.pop("kept", None)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The height, the width and the number of channels of a view."""
        return self.preprocess.size, self.preprocess.size, self.preprocess.w_in

    def views(self) -> Iterator[UInt8[np.ndarray, "_ _ _ _"]]:
        """Yield the preprocessed views of all images in the data set's order, in N H W C arrays of up to one batch.

        Refused images are left out. The arrays may share the data set's memory and must not be modified.
        """
        if self.in_memory:
            images = self.kept.views.images
            yield from (images[at : at + self.batch] for at in range(0, len(images), self.batch))
            return
        everything = np.arange(len(self.dataset))
        plain = partial(attempt, self.dataset, self.preprocess)
        with contextlib.closing(self.map_images(plain, everything.tolist())) as results:
            for at in range(0, len(everything), self.batch):
                yield take_views(everything[at : at + self.batch], results, self.shape).images

    def first_views(self, count: int) -> UInt8[Tensor, "_ C H W"]:
        """Return the views of the first `count` images that are not refused, or of all such images if there are fewer.

        Later images are not decoded.
        """
        views = (attempt(self.dataset, self.preprocess, i) for i in range(len(self.dataset)))
        some = islice((view for view in views if not isinstance(view, BadImage)), count)
        height, width, channels = self.shape
        images = np.array([view.transpose(2, 0, 1) for view in some], np.uint8)
        return torch.from_numpy(images.reshape(-1, channels, height, width))

    def batches(self, epoch: int, skip: int = 0, mine: Callable[[int], range] = range) -> Iterator[Batch]:
        """Yield the batches of an epoch, starting with batch `skip`.

        `mine` is called with the number of parts in a batch and returns the range of parts that this process decodes.
        """
        draws = Draws(self.seed).at_epoch(epoch)
        order = cut_batches(self.tickets(draws), self.batch, self.pairs)[skip:]
        cuts = [divide_batch(tickets, self.parts, self.pairs) for tickets in order]
        shares = [{number: parts[number] for number in mine(len(parts))} for parts in cuts]
        views = self.from_memory(draws, shares) if self.in_memory else self.from_workers(draws, shares)
        with contextlib.closing(views):
            for cut, share in zip(cuts, shares, strict=True):
                began = time.perf_counter()
                parts = self.parts_of(next(views), share, draws)
                yield Batch(parts, len(cut), time.perf_counter() - began)

    def tickets(self, draws: Draws) -> Tickets:
        """Return the tickets of an epoch's images, in the order of use."""
        ids = self.dataset.ids
        if not self.balanced:
            return draws.order(ids)
        positions, repeats = order_in_turns(draws, ids, self.dataset.targets.strata(len(self.dataset.classes)))
        return positions + len(ids) * repeats

    def draw_ids(self, tickets: Tickets) -> Int64[np.ndarray, "_"]:
        """Return the ids that decide how images are augmented."""
        if not self.balanced:
            return self.dataset.ids[tickets]
        repeats, positions = np.divmod(tickets, len(self.dataset))
        return repeat_ids(self.dataset.ids[positions], repeats)

    def from_memory(self, draws: Draws, shares: Sequence[PartTickets]) -> Generator[Views, None, None]:
        """Yield the augmented views of each batch, N C H W, computed from the kept views."""
        kept, fill = self.kept, self.fill.numpy()
        for share in shares:
            tickets = all_tickets(share)
            positions = tickets % len(self.dataset)
            good = kept.views.good[positions]
            here, ids = positions[good], self.draw_ids(tickets[good])
            windows = window.choose(kept.sizes[here], self.preprocess.size, self.augment, draws, ids)
            images = window.apply_windows(kept.views.images[kept.rows[here]].transpose(0, 3, 1, 2), windows, fill)
            refused = {i: kept.views.refused[i % len(self.dataset)] for i in tickets[~good].tolist()}
            yield Views(self.paint(images, draws, ids), good, refused)

    def from_workers(self, draws: Draws, shares: Sequence[PartTickets]) -> Generator[Views, None, None]:
        """Yield the augmented views of each batch, N C H W, decoded by threads up to two batches in advance."""
        height, width, channels = self.shape
        stream = chain.from_iterable(all_tickets(share).tolist() for share in shares)
        with contextlib.closing(self.map_images(partial(self.augmented_view, draws), stream)) as results:
            for share in shares:
                yield take_views(all_tickets(share), results, (channels, height, width))

    def map_images(
        self, function: Callable[[int], ViewResult], positions: Iterable[Any]
    ) -> Generator[ViewResult, None, None]:
        """Yield the result of `function` for each position, computed by threads up to two batches in advance."""
        return map_in_order(function, positions, self.workers, ahead=2 * self.batch)

    def measured_view(self, sizes: Int64[np.ndarray, "N 2"], i: int) -> ViewResult:
        """Return the preprocessed view of one image, H W C. Write the image's height and width into `sizes`."""

        def view(image: Image) -> Image:
            sizes[i] = image.shape[:2]
            return self.preprocess(image)

        return attempt(self.dataset, view, i)

    def augmented_view(self, draws: Draws, ticket: int) -> ViewResult:
        """Return the augmented view of one image, C H W."""
        ids = self.draw_ids(np.array([ticket]))

        def view(image: Image) -> Image:
            sizes = np.array([image.shape[:2]], np.int64)
            windows = window.choose(sizes, self.preprocess.size, self.augment, draws, ids)
            one = window.render_view(image, windows, self.preprocess).transpose(2, 0, 1)[None]
            return self.paint(window.apply_windows(one, windows, self.fill.numpy()), draws, ids)[0]

        return attempt(self.dataset, view, ticket % len(self.dataset))

    def paint(
        self, views: UInt8[np.ndarray, "N C H W"], draws: Draws, ids: Int64[np.ndarray, "N"]
    ) -> UInt8[np.ndarray, "N C H W"]:
        """Return the views after changing their colours."""
        return colour.paint(views, self.augment, draws, ids, self.preprocess.channels)

    def parts_of(self, views: Views, share: PartTickets, draws: Draws) -> Mapping[int, Part]:
        """Divide the views of a batch into the batch's parts, and mix the images of each part if a rule mixes images.

        Otherwise, the images of a part are a slice of `views.images`.
        """
        parts: dict[int, Part] = {}
        start = at = 0  # the part's first row in `images`, and its first position in the batch
        for number, tickets in share.items():
            good = views.good[at : at + len(tickets)]
            here = tickets[good] % len(self.dataset)
            images, targets = self.mix(views.images[start : start + len(here)], tickets[good], draws)
            parts[number] = Part(
                images=torch.from_numpy(images),
                targets=targets,
                ids=self.dataset.ids[here],
                positions=here,
                refused=tuple(views.refused[i] for i in tickets[~good].tolist()),
            )
            start += len(here)
            at += len(tickets)
        return parts

    def mix(
        self, images: UInt8[np.ndarray, "N C H W"], tickets: Tickets, draws: Draws
    ) -> tuple[mixing.PartImages, StepTargets]:
        """Return a part's images and targets, mixed if a rule mixes images."""
        targets = self.dataset.targets[tickets % len(self.dataset)]
        if not any(map(mixing.is_mix_kind, self.augment)):
            return images, targets
        rows = np.zeros((len(tickets), len(self.dataset.classes)), np.float32)
        rows[np.arange(len(tickets)), labels_of(targets, "mixing images")] = 1
        mixed, rows = mixing.mix_part(images, rows, self.augment, draws, self.draw_ids(tickets))
        return mixed, Soft(rows)


def all_tickets(share: PartTickets) -> Tickets:
    """Return the tickets of all parts, one part after another."""
    return np.concatenate([*share.values(), np.zeros(0, np.int64)])  # the empty array is for a share without parts


def take_views(tickets: Tickets, results: Iterator[ViewResult], shape: tuple[int, int, int]) -> Views:
    """Take one result for each ticket, and combine the results into `Views`."""
    images = np.empty((len(tickets), *shape), np.uint8)
    good = np.zeros(len(tickets), bool)
    refused: dict[int, Refused] = {}
    kept = 0
    for k, (i, result) in enumerate(zip(tickets.tolist(), islice(results, len(tickets)), strict=True)):
        if isinstance(result, BadImage):
            refused[i] = Refused(result.path, result.code, result.detail)
        else:
            images[kept], good[k] = result, True
            kept += 1
    return Views(images[:kept], good, refused)


def is_identity(preprocess: Preprocess, shape: Sequence[int]) -> bool:
    """Return whether `preprocess` leaves every image of this shape (H, W, C) unchanged."""
    size, channels = preprocess.size, preprocess.w_in
    scales = preprocess.resize == "shorter" and preprocess.scale != size
    reorders = preprocess.channels == "bgr" and channels == 3
    return not scales and not reorders and tuple(shape) == (size, size, channels)
