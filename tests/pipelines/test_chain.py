"""Chains check that their parts fit each other, and hold the descriptors of few images at a time."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from imclass.core.errors import UserError
from imclass.core.targets import OneOf
from imclass.pipelines.chain import Chain
from imclass.pipelines.parts.fisher import Fisher
from imclass.pipelines.parts.network_features import NetworkFeatures
from imclass.pipelines.parts.normalise import Normalise
from imclass.pipelines.parts.pca import Pca
from imclass.pipelines.parts.pyramid import Pyramid
from imclass.pipelines.parts.union import Union
from imclass.pipelines.parts.words import VisualWords
from imclass.pipelines.pipeline import Pipeline
from tests.support.parts import Blocks, Colours, NearestMean
from tests.support.small import CLASSES, picture

LABELS = np.arange(12) % 2
IMAGES = [picture(i, bool(label), 10 + i) for i, label in enumerate(LABELS)]


def fitted_words(**settings: Any) -> VisualWords:
    part = VisualWords(4, **settings)
    part.centres_ = (255 * np.random.default_rng(0).random((4, 3))).astype(np.float32)
    part.spread_ = np.ones(1, np.float32)
    return part


@dataclass
class Counting(Blocks):
    """Blocks that remember how many images each call had."""

    kind: ClassVar[str] = "counting"

    def transform(self, x: Any) -> Any:
        vars(self).setdefault("calls", []).append(len(x))
        return super().transform(x)


@pytest.mark.parametrize("threads", (1, 2))
def test_images_with_descriptors_are_processed_one_by_one(threads: int) -> None:
    counting = Counting(2)
    chain = Chain((counting, Pyramid(("1x1", "2x2")), fitted_words(), Normalise()))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = chain.rows(IMAGES)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert vars(counting)["calls"] == [1] * 12
    assert rows.shape == (12, 20) and np.array_equal(rows, chain.transform(IMAGES))
    assert chain.rows(IMAGES[:5]).tolist() == rows[:5].tolist()


def test_other_chains_take_all_images_together() -> None:
    colours = Colours(3)
    colours.spread_ = np.ones(3)
    assert np.array_equal(Chain((colours,)).rows(IMAGES), colours.transform(IMAGES))


def test_a_pipeline_embeds_images_and_scores_the_rows() -> None:
    parts = (Blocks(2), fitted_words(soft=1.0), NearestMean())
    pipeline = Pipeline(parts, CLASSES)
    rows = pipeline.embed(IMAGES)
    assert rows.shape == (12, 4)
    parts[-1].fit(rows, OneOf(LABELS), 2)
    assert np.array_equal(pipeline.classify(IMAGES).numpy(), parts[-1].scores(rows).astype(np.float32))
    assert pipeline.classify([]).shape == (0, 2)


WRONG = (
    ((Blocks(), Normalise()), "the part blocks gives descriptors, but normalise, .* takes rows; put an encoder"),
    ((Blocks(), Fisher(), Pca()), "the part fisher gives rows, but pca, .* takes descriptors; put pca before the enc"),
    (
        (Colours(), Blocks()),
        "the part colours gives rows, but blocks, which .* takes images; put blocks first",
    ),
    ((Blocks(), Union()), "the part blocks gives descriptors, but union, which .* images; put union first, or join bo"),
    ((Pca(), Fisher()), "pca comes first, but takes descriptors and not images; put one that describes images, such"),
    ((Normalise(),), "the part normalise comes first, but takes rows and not images; put a feature before it"),
)


@pytest.mark.parametrize(("parts", "message"), WRONG)
def test_parts_that_do_not_fit_each_other_are_refused(parts: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Chain(parts)
    with pytest.raises(UserError, match=message):
        Pipeline((*parts, NearestMean()), CLASSES)


def test_a_scorer_needs_rows() -> None:
    with pytest.raises(UserError, match=r"blocks gives descriptors, but nearest-mean, .* put an encoder, such"):
        Pipeline((Blocks(), NearestMean()), CLASSES)
    assert Pipeline((NetworkFeatures(), NearestMean()), CLASSES).link == "softmax"
