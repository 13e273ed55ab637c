"""The tasks of a fit: which images are sampled, which parts learn from what, and what is kept."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from imclass.core.config import Fitting
from imclass.core.contracts import Origin
from imclass.core.errors import UserError
from imclass.core.runtime import Runtime
from imclass.core.targets import OneOf
from imclass.data.arrays import ArrayDataset
from imclass.pipelines.descriptors import join_descriptors
from imclass.pipelines.part import Feature, Flow
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.parts.words import VisualWords
from imclass.pipelines.pipeline import Pipeline
from imclass.store.context import open_context
from imclass.training.events import PartFitted, TaskProgress
from imclass.training.fits import fitter
from imclass.training.fits.encode import Sample
from imclass.training.fits.fitter import Fitter
from imclass.training.fits.job import FitJob, FittedPipeline
from tests.support.parts import Blocks, Colours
from tests.support.small import picture

CLASSES = ("cat", "dog")


@dataclass
class Centre(Feature):
    """Rows minus the mean of the training rows."""

    kind: ClassVar[str] = "centre"
    takes: ClassVar[tuple[Flow, ...]] = ("rows",)
    learned: ClassVar[tuple[str, ...]] = ("mean_",)

    def fit(self, x: Any, targets: Any, classes: int) -> "Centre":
        self.mean_ = np.asarray(x[0 : len(x)]).mean(0)
        return self

    def transform(self, x: Any) -> np.ndarray:
        return np.asarray(x) - self.mean_


@dataclass
class Broken(Centre):
    """Rows that are not finite."""

    kind: ClassVar[str] = "broken"
    learned: ClassVar[tuple[str, ...]] = ()

    def transform(self, x: Any) -> np.ndarray:
        return np.asarray(x) * np.nan


def dataset(split: str, count: int, first: int) -> ArrayDataset:
    labels = np.arange(count) % 2
    images = np.stack([picture(first + i, bool(label)) for i, label in enumerate(labels)])
    return ArrayDataset(images, OneOf(labels), CLASSES, ("train", "test"), split, Origin("made", "", "published"))


def job(store: Path, *parts: Any, sample: int = 3000, workers: int = 1) -> FitJob:
    return FitJob(
        config=Fitting("mine", parts, "made", sample=sample),
        pipeline=Pipeline(parts, CLASSES),
        splits={"train": dataset("train", 12, 0), "test": dataset("test", 4, 50)},
        context=open_context(store),
        runtime=Runtime(threads=1),
        workers=workers,
    )


def stop_after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None


def finish(fit: FitJob, stop: Callable[[], bool] = lambda: False) -> tuple[list[Any], FittedPipeline | None]:
    """Run a fit to its end, and return its events and its result."""
    events, running = [], Fitter(fit, stop).run()
    while True:
        try:
            events.append(next(running))
        except StopIteration as end:
            return events, end.value


def test_rows_of_each_split_are_those_of_the_fitted_parts(tmp_path: Path) -> None:
    fit = job(tmp_path, Blocks(4), VisualWords(5), Centre(), Logistic((1.0,)))
    _, found = finish(fit)
    assert found is not None
    for name, split in found.splits.items():
        images = [fit.splits[name][i] for i in range(len(fit.splits[name]))]
        assert np.array_equal(split.kept, np.arange(len(images))) and not split.refused
        assert np.allclose(split.rows[0 : len(images)], found.pipeline.embed(images), atol=1e-6)
    assert (
        np.abs(found.splits["train"].rows[0:12].mean(0)).max()
        < 1e-6
        < np.abs(found.splits["test"].rows[0:4].mean(0)).max()
    )


def test_a_part_may_learn_from_whole_images(tmp_path: Path) -> None:
    events, found = finish(job(tmp_path, Colours(3), Logistic((1.0,))))
    assert found is not None
    expected = Colours(3).fit([dataset("train", 12, 0)[i] for i in range(12)], OneOf(np.zeros(12, np.int64)), 2)
    assert np.array_equal(found.pipeline.parts[0].arrays()["spread_"], expected.spread_)
    assert not [e for e in events if isinstance(e, TaskProgress) and e.task == "sample descriptors"]


def test_the_sample_is_bounded_and_drawn_from_as_few_images_as_needed(tmp_path: Path) -> None:
    sizes = {}

    @dataclass
    class Counted(VisualWords):
        kind: ClassVar[str] = "counted"

        def fit_steps(self, x: Any, *others: Any) -> Any:
            sizes[self.words] = len(x), x.images
            yield from super().fit_steps(x, *others)

    finish(job(tmp_path, Blocks(4), Counted(3), Logistic((1.0,))))
    finish(job(tmp_path, Blocks(4), Counted(2), Logistic((1.0,)), sample=5))
    assert sizes == {3: (12 * 9, 12), 2: (5, 1)}  # each image has 9 blocks


def test_a_fit_stops_where_it_is_asked_to(tmp_path: Path) -> None:
    parts = (Blocks(4), VisualWords(5), Centre(), Logistic((1.0,)))
    calls = 0
    while True:
        calls += 1
        _, found = finish(job(tmp_path, *map(replace, parts)), stop_after(calls))
        if found is not None:
            break
    events, again = finish(job(tmp_path, *map(replace, parts)))
    assert calls > 3 and again is not None
    assert all(event.stored for event in events if isinstance(event, PartFitted))
    other, whole = finish(job(tmp_path / "other", *map(replace, parts), workers=2))
    assert whole is not None and not any(event.stored for event in other if isinstance(event, PartFitted))
    for ours, theirs in zip(again.pipeline.parts, whole.pipeline.parts, strict=True):
        assert all(np.array_equal(array, theirs.arrays()[name]) for name, array in ours.arrays().items())


def test_rows_that_are_not_finite_are_refused_with_the_name_of_the_image(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the features of .*0.* are not finite"):
        finish(job(tmp_path, Blocks(4), VisualWords(5), Broken(), Logistic((1.0,))))


def test_what_another_version_left_in_the_store_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = (Blocks(4), VisualWords(5), Logistic((1.0,)))
    finish(job(tmp_path, *map(replace, parts)))
    events, _ = finish(job(tmp_path, *map(replace, parts)))
    assert all(event.stored for event in events if isinstance(event, PartFitted))
    monkeypatch.setattr(fitter, "KEPT_VERSION", 0)
    events, _ = finish(job(tmp_path, *map(replace, parts)))
    assert not any(event.stored for event in events if isinstance(event, PartFitted))
    assert [e.computed for e in events if isinstance(e, TaskProgress) and e.task == "encode train"][-1] == 12


def test_a_sample_contains_the_descriptors_of_its_images() -> None:
    several = [Blocks(4).transform([picture(i, side=12 + 4 * i)]) for i in range(3)]
    sample = Sample(60)
    for each in several:
        sample.add(replace(each, grids=((1, 2),)))
    found, expected = sample.descriptors(), join_descriptors(several)
    for name in ("values", "positions", "scales", "image", "sizes"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert found.grids == ((1, 2),)
