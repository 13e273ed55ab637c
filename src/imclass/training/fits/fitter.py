"""The fit of a pipeline, task by task.

Descriptors of a sample of images are drawn, and the parts that learn from descriptors are fitted to it. Then each image
is encoded as one row of numbers, and the remaining parts are fitted to these rows. Learned arrays and rows are kept in
the store as soon as they are known, with everything that decides their bits as the key. A fit that was stopped or
killed continues with them, and so does another fit that differs only in later parts.

Images are processed one by one, each by one thread, so the bits do not depend on the number of workers.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from imclass.core.codec import to_json
from imclass.core.contracts import Dataset, Refused
from imclass.core.errors import BadImage, UserError
from imclass.core.model_file import tensors_digest
from imclass.core.randomness import Draws
from imclass.core.runtime import library_versions, one_thread_each, release_memory
from imclass.data.contents import UNREADABLE_CONTENTS
from imclass.data.threads import attempt, map_in_order
from imclass.models.classifier import networks
from imclass.pipelines.chain import count_image_parts
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.part import Feature, PipelinePart, every_part, pipeline_parts
from imclass.store.context import Context
from imclass.store.index import json_digest
from imclass.store.learned import LearnedArrays, open_learned
from imclass.store.row_file import open_row_file
from imclass.training.events import Event, PartFitted, RunPosition
from imclass.training.fits.encode import (
    Encoded,
    LazyImages,
    Sample,
    check_any,
    check_row,
    encode_one,
    encode_rows,
    places_of,
    sampled_descriptors,
)
from imclass.training.fits.job import EncodedSplit, FitJob, FittedPipeline
from imclass.training.fits.progress import TaskPace

TRAIN = "train"
MIN_SAMPLED = 250  # descriptors of each image in the sample, so that not all images are needed for a small sample
KEPT_VERSION = 3  # of what is kept in the store; a change of any part's equations needs a new number


class Stopped(Exception):
    """The user has asked the fit to stop."""


@dataclass
class Fitter:
    """The fit of a job. `asked_to_stop` is called for each image and step."""

    job: FitJob
    asked_to_stop: Callable[[], bool]
    task: int = 0  # the number of the current task
    refused: dict[str, dict[int, Refused]] = field(default_factory=dict)  # keyed by split and position

    def run(self) -> Generator[Event, None, FittedPipeline | None]:
        """Fit all parts, and yield the events. Return None if the fit was stopped."""
        *features, scorer = self.job.pipeline.parts
        try:
            splits = yield from self.encode_splits([part for part in features if isinstance(part, Feature)])
            train = splits[TRAIN]
            check_any(train, self.job.splits[TRAIN])
            kept = self.open_arrays(self.job.pipeline.parts)
            yield from self.fit_part(scorer, train.rows, train.kept, kept)
        except Stopped:
            return None
        return FittedPipeline(self.job.pipeline, splits)

    def encode_splits(self, features: Sequence[Feature]) -> Generator[Event, None, dict[str, EncodedSplit]]:
        """Fit the features, and return the rows that they give for each split."""
        low = count_image_parts(features)
        channels = []
        for channel in features[low].channels_of():
            channels.append((yield from self.encode_splits((*features[:low], *channel))))
        high = next_learner(features, low + 1)
        for i in range(low + 1):
            if features[i].learned:
                yield from self.fit_to_images(features[: i + 1])
        yield from self.fit_to_descriptors(features[:high])
        sources = {name: [channel[name] for channel in channels] for name in self.job.splits}
        while True:
            splits = {}
            for name, source in sources.items():
                splits[name] = yield from self.encode(features[:high], low, name, source)
            if high == len(features):
                return splits
            low, high = high, next_learner(features, high + 1)
            train = splits[TRAIN]
            check_any(train, self.job.splits[TRAIN])
            kept = self.open_arrays(features[: low + 1])
            yield from self.fit_part(features[low], train.rows, train.kept, kept)
            sources = {name: [split] for name, split in splits.items()}

    def fit_to_images(self, features: Sequence[Feature]) -> Iterator[Event]:
        """Fit the last of some parts to whole images, which are decoded as it asks for them."""
        images = LazyImages(self.job.splits[TRAIN], features[-1].kind, features[:-1])
        yield from self.fit_part(features[-1], images, np.arange(len(images)), self.open_arrays(features))

    def fit_to_descriptors(self, features: Sequence[Feature]) -> Iterator[Event]:
        """Fit the parts that learn from descriptors to a sample, which is drawn only if the store lacks an array."""
        sample, applied = None, 0
        for i, part in enumerate(features):
            if not part.learned or "descriptors" not in part.takes:
                continue
            kept = self.open_arrays(features[: i + 1])
            if kept.read() is None:
                if sample is None:
                    sample, applied = (yield from self.draw_sample(features[:i])), i
                for before in features[applied:i]:
                    sample = before.transform(sample)
                applied = i
            yield from self.fit_part(part, sample, np.arange(0), kept)

    def fit_part(
        self, part: PipelinePart, x: Any, kept: Int64[np.ndarray, "n"], store: LearnedArrays
    ) -> Iterator[Event]:
        """Fit a part, or restore what it learned in an earlier fit."""
        began, arrays = time.monotonic(), store.read()
        data, seed = self.job.splits[TRAIN], self.job.config.seed
        if arrays is not None:
            part.restore(arrays, str(store.path))
        else:
            pace = self.begin(f"fit {part.kind}", "steps")
            for done, total in part.fit_steps(x, data.targets[kept], len(data.classes), seed):
                yield from pace.events(done, total)
                self.check_stop()
            store.write(part.arrays())
        yield PartFitted(self.at, part.kind, time.monotonic() - began, arrays is not None, part.facts())

    def draw_sample(self, features: Sequence[Feature]) -> Generator[Event, None, Descriptors]:
        """Return descriptors of training images, at most as many as the config allows."""
        dataset, limit = self.job.splits[TRAIN], self.job.config.sample
        draws = Draws(self.job.config.seed).in_scope("sample")
        each = max(MIN_SAMPLED, -(-limit // len(dataset)))
        images = np.sort(draws.order(dataset.ids)[: max(1, limit // each)]).tolist()

        def describe(i: int) -> Descriptors | BadImage:
            return attempt(
                dataset, partial(sampled_descriptors, features, min(each, limit), draws, int(dataset.ids[i])), i
            )

        sample = Sample(limit)
        for i, result in self.process(describe, images, "sample descriptors"):
            if isinstance(result, BadImage):
                yield from self.refuse(TRAIN, i, result)
            elif isinstance(result, Descriptors):
                sample.add(result)
            yield from self.pace.events(self.pace.computed, len(images))
        if not sample.count:
            raise UserError(
                f"the {len(images):,} sampled images of {dataset.origin.path} have no descriptors, because all of them "
                "were refused; see the reasons above"
            )
        return sample.descriptors()

    def encode(
        self, features: Sequence[Feature], low: int, split: str, sources: Sequence[EncodedSplit]
    ) -> Generator[Event, None, EncodedSplit]:
        """Return the rows of a split, after computing those that the store lacks.

        The features from `low` on are applied to the rows of `sources`. If there are none, all features are applied
        to the images.
        """
        dataset, single = self.job.splits[split], low > count_image_parts(features)
        file = open_row_file(self.job.context.store, self.key_of(features) | {"learned": learned_digest(features)})
        contents, alike = content_groups(dataset)
        numbers = file.find(contents)
        missing = sorted(group[0] for content, group in alike.items() if content not in numbers)
        compute = partial(encode_rows, features[low:], single, sources, places_of(sources)) if sources else None

        def encode_image(i: int) -> Encoded | BadImage:
            if compute is None:
                return attempt(dataset, partial(encode_one, features), i)
            return compute(i, dataset.name(i))

        done = sum(content in numbers for content in contents)
        for i, result in self.process(encode_image, missing, f"encode {split}"):
            if isinstance(result, BadImage):
                for j in alike[contents[i]]:
                    path = result.path if j == i else dataset.name(j)
                    yield from self.refuse(split, j, BadImage(result.code, path, result.detail))
            elif contents[i] < 0:
                yield from self.refuse(split, i, BadImage("changed", dataset.name(i), "it was unreadable a moment ago"))
            elif isinstance(result, np.ndarray):
                check_row(result, dataset.name(i))
                numbers[contents[i]] = file.append(contents[i], result)
            self.pace.computed += len(alike[contents[i]]) - 1  # copies of an image are finished with it
            yield from self.pace.events(done + self.pace.computed, len(dataset))
        if not missing:
            yield from self.pace.events(done, done)
        kept = np.array([i for i, content in enumerate(contents) if content in numbers], np.int64)
        rows = file.rows([contents[i] for i in kept.tolist()], numbers)
        return EncodedSplit(kept, rows, tuple(self.refused.get(split, {}).values()))

    def process(
        self, function: Callable[[int], Encoded | BadImage], images: Sequence[int], task: str
    ) -> Iterator[tuple[int, Encoded | BadImage]]:
        """Yield each image's position with its result. Every image is processed by one thread."""
        pace = self.begin(task, "images")
        workers = max(1, self.job.workers)
        with (
            one_thread_each(),
            contextlib.closing(map_in_order(function, images, workers, ahead=2 * workers)) as results,
        ):
            for i, result in zip(images, results, strict=True):
                self.check_stop()
                pace.computed += 1
                yield i, result

    def refuse(self, split: str, i: int, bad: BadImage) -> Iterator[Event]:
        """Remember a refused image, and let the next event list it."""
        refused = Refused(bad.path, bad.code, bad.detail)
        if self.refused.setdefault(split, {}).setdefault(i, refused) is refused:
            self.pace.refused.append(refused)
        yield from ()

    def begin(self, task: str, unit: str) -> "TaskPace":
        """Begin a task."""
        release_memory()
        self.task += 1
        self.pace = TaskPace(self.at, task, unit)
        return self.pace

    @property
    def at(self) -> RunPosition:
        """Return the position of the current task."""
        return RunPosition(stage=self.task, step=self.task)

    def check_stop(self) -> None:
        """Raise `Stopped` if the user has asked to stop."""
        if self.asked_to_stop():
            raise Stopped

    def open_arrays(self, parts: Sequence[PipelinePart]) -> LearnedArrays:
        """Return the store's place for the arrays of the last of some parts."""
        before = learned_digest(parts[:-1])
        return open_learned(self.job.context.store, self.key_of(parts, TRAIN) | {"before": before})

    def key_of(self, parts: Sequence[PipelinePart], split: str = "") -> dict[str, Any]:
        """Return everything that decides the exact output of some parts, except learned arrays and the images.

        If `split` is given, add what decides what they learn from its images.
        """
        job, table = self.job, pipeline_parts(self.job.context)
        key = {
            "version": KEPT_VERSION,
            "parts": to_json(parts),
            "plugins": {part.kind: table.plugin_digests(part.kind) for part in every_part(parts)},
            "members": [member_digests(part, job.context) for part in parts],
            "max_pixels": job.context.max_pixels,
            "runtime": to_json(job.runtime),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "libraries": library_versions(),
        }
        if not split:
            return key
        dataset = job.splits[split]
        return key | {"images": dataset.digest(), "sample": job.config.sample, "seed": job.config.seed}


def next_learner(features: Sequence[Feature], start: int) -> int:
    """Return the position of the first part from `start` on that learns from rows, or the number of parts."""
    found = (i for i in range(start, len(features)) if features[i].learned and features[i - 1].gives == "rows")
    return next(found, len(features))


def learned_digest(parts: Sequence[PipelinePart]) -> str:
    """Return the SHA-256 of the arrays that some parts have learned."""
    arrays = {f"{i}.{name}": array for i, part in enumerate(parts) for name, array in part.arrays().items()}
    return tensors_digest({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})


def content_groups(dataset: Dataset) -> tuple[list[int], dict[int, list[int]]]:
    """Return the content hash of each image, and the positions of the images with each hash.

    All unreadable files have the same hash. In its place, each of them gets a negative number.
    """
    unreadable = np.isin(dataset.contents(), UNREADABLE_CONTENTS).tolist()
    contents = [
        -1 - i if bad else c for i, (c, bad) in enumerate(zip(dataset.contents().tolist(), unreadable, strict=True))
    ]
    groups: dict[int, list[int]] = {}
    for i, content in enumerate(contents):
        groups.setdefault(content, []).append(i)
    return contents, groups


def member_digests(part: PipelinePart, context: Context) -> dict[str, Any]:
    """Return what decides the output of each classifier in a part: its tensors, its settings and its plugins."""
    found = {}
    for name, member in part.members().items():
        tensors, header = member.pack()
        plugins = [networks(context).plugin_digests(each.name) for each in member.networks().values()]
        found[name] = [tensors_digest(tensors), json_digest(header.body), plugins]
    return found
