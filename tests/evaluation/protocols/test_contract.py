"""Properties that every protocol has."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from imclass.core.contracts import ViewProtocol
from imclass.core.preprocess import Preprocess
from imclass.evaluation.protocols.center import Center
from imclass.evaluation.score import view_protocols
from imclass.models.scores import posterior, scores_of
from imclass.models.views import batches as views
from imclass.models.views.scales import replace_scales
from tests.support.narrowed import REAL, small
from tests.support.tolerance import near
from tests.support.viewers import Constant, Linear, ragged_images

RULE = Preprocess(size=14, scale=17)
FOUND = {**view_protocols().entries, "center, flip": Center(flip=True)}
SPECIAL = ("overfeat", "spp")  # these need real networks, with pooling or a spatial pyramid
OF_VIEWS = {name: protocol for name, protocol in FOUND.items() if name not in SPECIAL}
SHAPES = ((40, 55, 3), (60, 33, 3), (25, 25, 3), (40, 55, 1), (16, 300, 3))


@pytest.fixture(params=OF_VIEWS)
def protocol(request: pytest.FixtureRequest) -> Iterator[ViewProtocol]:
    yield OF_VIEWS[request.param]


def test_every_protocol_of_the_papers_is_there() -> None:
    names = "center resize flip shift6 tencrop googlenet144 vgg-multicrop dense dense+multicrop overfeat"
    assert set(names.split()) | {"resnet-multiscale"} <= set(FOUND) and not view_protocols().failures


def test_a_constant_classifier_has_the_same_scores_under_every_protocol(protocol: ViewProtocol) -> None:
    classifier = Constant(RULE)
    found = protocol(classifier, ragged_images(*SHAPES)).softmax(1)
    assert near(found, torch.tensor(classifier.value).softmax(0).expand_as(found))


def test_logits_of_several_labels_stay_logits(protocol: ViewProtocol) -> None:
    """Check that each class is averaged separately; a softmax would make probabilities add up to 1."""
    classifier = Constant(RULE, link="sigmoid")
    found = protocol(classifier, ragged_images(*SHAPES))
    assert near(found, torch.tensor(classifier.value).expand_as(found))
    images = ragged_images(*SHAPES)
    one, other = Linear(RULE, gain=4, link="sigmoid"), Linear(RULE, gain=4)
    assert not near(protocol(one, images).sigmoid().sum(1), torch.ones(len(SHAPES)), 0.05)
    assert near(protocol(other, images).softmax(1).sum(1), torch.ones(len(SHAPES)))  # the twin


@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_probabilities_sum_to_one(protocol: ViewProtocol, colour: str) -> None:
    rule = Preprocess(size=14, scale=17, colour="grey" if colour == "grey" else "rgb")
    scores = protocol(Linear(rule), ragged_images(*SHAPES))
    assert scores.dtype == torch.float32 and scores.isfinite().all()
    assert near(scores.softmax(1).sum(1), torch.ones(len(SHAPES)))


def test_neither_order_nor_grouping_matters(protocol: ViewProtocol, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, images = Linear(RULE, gain=4), ragged_images(*SHAPES)
    together = protocol(classifier, images).softmax(1)
    alone = torch.cat([protocol(classifier, [image]) for image in images]).softmax(1)
    backwards = protocol(classifier, images[::-1]).softmax(1).flip(0)
    assert near(together, alone) and near(together, backwards)
    assert not near(together[0], together[1], 1e-3)  # the twin: a wrong order would be seen


def test_no_images_give_no_rows(protocol: ViewProtocol) -> None:
    assert protocol(Linear(RULE), []).shape == (0, 3)


def test_an_image_without_detail_has_the_score_of_its_one_view(protocol: ViewProtocol) -> None:
    classifier, grey = Linear(RULE, gain=4), np.full((40, 55, 3), 93, np.uint8)
    view = torch.full((1, 3, 14, 14), 93, dtype=torch.uint8)
    assert near(protocol(classifier, [grey]).softmax(1), classifier.scores(view).softmax(1))


@pytest.mark.parametrize("name", [name for name, p in OF_VIEWS.items() if hasattr(p, "scales")])
def test_the_same_scale_twice_is_that_scale(name: str) -> None:
    classifier, images = Linear(RULE, gain=4), ragged_images(*SHAPES)
    once, twice, other = (replace_scales(OF_VIEWS[name], q)(classifier, images) for q in ((17,), (17, 17), (17, 20)))
    assert near(once, twice) and not near(once, other, 1e-3)


@pytest.mark.parametrize(("name", "row"), REAL)
def test_grouping_does_not_matter_to_real_networks(name: str, row: dict[str, Any]) -> None:
    classifier, images = small(name, **row), ragged_images((80, 70, 3), (80, 70, 3), (70, 80, 1))
    for title, protocol in FOUND.items():
        if (name, title) == ("resnet-cifar-20", "overfeat") or title == "spp":
            continue  # it has no pooling to be made finer, and none has a spatial pyramid
        together = protocol(classifier, images).softmax(1)
        alone = torch.cat([protocol(classifier, [image]) for image in images]).softmax(1)
        assert near(together, alone), title


def test_batches_stay_small_for_any_number_of_views(protocol: ViewProtocol) -> None:
    class Sizes(Linear):
        def scores(self, images: torch.Tensor) -> torch.Tensor:
            assert images.nbytes <= views.BATCH_BYTES + images[0].nbytes
            self.seen.append(images[:0].clone())
            return torch.zeros(len(images), 3)

        def dense(self, images: torch.Tensor) -> torch.Tensor:
            return self.scores(images)[:, :, None, None]

    classifier = Sizes(Preprocess(size=224, scale=256))
    protocol(classifier, ragged_images((256, 300, 3)) * 40)
    assert len(classifier.seen) > 1


def test_a_probability_of_zero_keeps_a_finite_score() -> None:
    certain = posterior(torch.tensor([[2000.0, 0.0, 1999.0]]))
    assert certain[0, 1] == 0 and certain.log()[0, 1] == -torch.inf
    scores = scores_of(certain)
    assert scores.isfinite().all() and near(scores.softmax(1).double(), certain)


def test_nan_stays_nan() -> None:
    assert scores_of(posterior(torch.tensor([[torch.nan, 0.0]]))).isnan().all()
