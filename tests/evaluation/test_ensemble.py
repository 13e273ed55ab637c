"""Ensembles: the mean of probabilities equals a plain numpy loop; fused scores are the ensemble's; fitted weights."""

import decimal
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from imclass.core.contracts import Classifier, Evaluation, NetworkBacked
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.core.targets import AnyOf, Link, OneOf
from imclass.evaluation import fusion as room
from imclass.evaluation.ensemble import Ensemble, EnsembleMember
from imclass.evaluation.fusion import fit_weights, fuse, mean_posterior
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.measures.single_label import cross_entropy
from imclass.evaluation.protocols.center import Center
from imclass.evaluation.score import evaluate
from tests.support.pictures import CLASSES as SEVEN
from tests.support.pictures import SIZE, Linear, pictures
from tests.support.stubs import StubNetwork
from tests.support.tolerance import assert_near, near

CLASSES = ("cat", "dog", "eel", "fox")
IMAGES = [np.full((5 + i, 9, 3), 40 * i, np.uint8) for i in range(5)]


@dataclass(frozen=True)
class Fixed(StubNetwork):
    """A network whose scores follow from the first pixel and a seed alone."""

    seed: int = 0
    classes: tuple[str, ...] = CLASSES
    preprocess: Preprocess = field(default_factory=lambda: Preprocess(4, scale=4))
    link: Link = "softmax"
    thresholds: tuple[float, ...] = ()

    def row(self, value: float) -> torch.Tensor:
        scores = 4 * np.random.default_rng([self.seed, int(value)]).normal(size=len(CLASSES))
        return torch.tensor([scores[CLASSES.index(name)] for name in self.classes], dtype=torch.float32)

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.row(float(image[0, 0, 0])) for image in images])

    def classify(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        rows = [self.row(float(image[0, 0, 0])) for image in images]
        return torch.stack(rows) if rows else torch.zeros(0, len(self.classes))

    def dense(self, images: torch.Tensor) -> torch.Tensor:
        return self.scores(images)[..., None, None]


@dataclass(frozen=True)
class Darker:
    """A protocol that halves the brightness of images."""

    name = "darker"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        return ()

    def check(self, classifier: NetworkBacked) -> None: ...

    def __call__(self, classifier: Any, images: Sequence[np.ndarray]) -> torch.Tensor:
        return classifier.classify([image // 2 for image in images])


def posterior(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def by_hand(members: Sequence[EnsembleMember], temperature: float = 1.0) -> np.ndarray:
    """Compute the fused probabilities an image, a member and a class at a time."""
    total = sum(member.weight for member in members)
    rows = []
    for image in IMAGES:
        mean = np.zeros(len(CLASSES))
        for member in members:
            probabilities = posterior(member.classify([image])[0].double().numpy())
            for k, name in enumerate(CLASSES):
                mean[k] += member.weight / total * probabilities[member.classes.index(name)]
        rows.append(posterior(np.log(mean) / temperature))
    return np.array(rows)


THREE = (EnsembleMember(Fixed(1)), EnsembleMember(Fixed(2), weight=2.5), EnsembleMember(Fixed(3), Darker(), weight=0.5))


@pytest.mark.parametrize("temperature", [1.0, 0.4, 3.0])
def test_it_is_the_weighted_mean_of_probabilities(temperature: float) -> None:
    ensemble = Ensemble(THREE, temperature)
    scores = ensemble.classify(IMAGES)
    assert scores.dtype == torch.float32 and scores.shape == (5, 4)
    assert_near(scores.softmax(1).numpy(), by_hand(THREE, temperature))
    assert isinstance(ensemble, Classifier) and "" not in ensemble.networks()


def test_weights_and_temperature_matter() -> None:
    plain = Ensemble(tuple(replace(m, weight=1.0) for m in THREE)).classify(IMAGES).softmax(1)
    assert (plain - Ensemble(THREE).classify(IMAGES).softmax(1)).abs().max() > 0.01
    assert (plain - Ensemble(THREE, 2.0).classify(IMAGES).softmax(1)).abs().max() > 0.01


def test_one_member_is_that_member() -> None:
    alone = Ensemble((EnsembleMember(Fixed(1), weight=7.0),)).classify(IMAGES)
    assert_near(alone.softmax(1), Fixed(1).classify(IMAGES).softmax(1))


def test_the_order_of_members_does_not_matter() -> None:
    one, other = Ensemble(THREE).classify(IMAGES), Ensemble(THREE[::-1]).classify(IMAGES)
    assert_near(other.softmax(1).numpy(), one.softmax(1).numpy())


def test_a_protocol_belongs_to_its_member() -> None:
    dark, plain = Ensemble((EnsembleMember(Fixed(3), Darker()),)), Ensemble((EnsembleMember(Fixed(3)),))
    halved = [image // 2 for image in IMAGES]
    assert_near(dark.classify(IMAGES), plain.classify(halved))
    assert not near(dark.classify(IMAGES), plain.classify(IMAGES), 1e-3)


def test_classes_are_joined_by_name() -> None:
    order = ("fox", "cat", "eel", "dog")
    mixed = Ensemble((EnsembleMember(Fixed(1)), EnsembleMember(Fixed(2, order))))
    plain = Ensemble((EnsembleMember(Fixed(1)), EnsembleMember(Fixed(2))))
    assert_near(mixed.classify(IMAGES), plain.classify(IMAGES))
    turned = Ensemble((EnsembleMember(Fixed(2, order)), EnsembleMember(Fixed(1))))
    assert turned.classes == order
    columns = [order.index(name) for name in CLASSES]
    assert_near(turned.classify(IMAGES)[:, columns], plain.classify(IMAGES))
    by_index = mean_posterior([Fixed(1).classify(IMAGES), Fixed(2, order).classify(IMAGES)], [1.0, 1.0])
    assert not near(by_index, plain.classify(IMAGES), 1e-3)  # joining by index would be wrong


def test_other_classes_are_listed() -> None:
    other = replace(Fixed(), classes=("cat", "dog", "eel", "gnu"))
    with pytest.raises(UserError, match=r"members 1 and 2 .*only in member 1: 'fox'; only in member 2: 'gnu'"):
        Ensemble((EnsembleMember(Fixed()), EnsembleMember(other)))


def test_an_ensemble_may_be_a_member() -> None:
    inner = Ensemble((EnsembleMember(Fixed(1)), EnsembleMember(Fixed(2), weight=3.0)))
    nested = Ensemble((EnsembleMember(inner, weight=1.0), EnsembleMember(Fixed(3), weight=3.0)))
    flat = (
        EnsembleMember(Fixed(1), weight=0.25),
        EnsembleMember(Fixed(2), weight=0.75),
        EnsembleMember(Fixed(3), weight=3.0),
    )
    assert_near(nested.classify(IMAGES).softmax(1).numpy(), by_hand(flat))
    with pytest.raises(UserError, match="has no test protocol"):
        EnsembleMember(inner, Darker())


@pytest.mark.parametrize("weights", [(0.0, 0.0), (-1.0, 2.0), (math.nan, 1.0), (math.inf, 1.0)])
def test_impossible_weights_are_refused(weights: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="the ensemble's weights are"):
        Ensemble(tuple(EnsembleMember(Fixed(i), weight=w) for i, w in enumerate(weights)))
    assert Ensemble((EnsembleMember(Fixed(), weight=0.0), EnsembleMember(Fixed(2)))).classify(IMAGES).isfinite().all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_impossible_temperatures_are_refused(temperature: float) -> None:
    with pytest.raises(UserError, match="temperature"):
        Ensemble(THREE, temperature)


def test_an_ensemble_without_members_is_refused() -> None:
    with pytest.raises(UserError, match="at least one member"):
        Ensemble(())


def test_a_class_of_probability_zero_keeps_a_finite_score() -> None:
    sure = torch.tensor([[0.0, -1e4]])
    scores = mean_posterior([sure, sure], [1.0, 1.0])
    assert scores.isfinite().all() and scores.softmax(1)[0, 0] == 1


def test_no_images_give_no_rows() -> None:
    assert Ensemble(THREE).classify([]).shape == (0, 4)


def random_scores(seed: int, n: int = 200, k: int = 4, good: float = 1.0) -> Evaluation:
    """Return scores of `n` images with the same labels for any seed; the more `good`, the more often right."""
    labels = np.random.default_rng(0).integers(0, k, n)
    scores = np.random.default_rng(seed).normal(size=(n, k)).astype(np.float32)
    scores[np.arange(n), labels] += good
    return evaluation_of(tuple("abcdefgh"[:k]), OneOf(labels), scores, np.arange(n) + 7, n)


def test_fused_scores_are_the_ensembles(monkeypatch: pytest.MonkeyPatch) -> None:
    data, order = pictures(30), (3, 0, 6, 1, 2, 5, 4)
    one, other = Linear(), Linear(classes=tuple(SEVEN[i] for i in order), preprocess=Preprocess(SIZE, scale=SIZE))
    ensemble = Ensemble((EnsembleMember(one, Center(12), 1.0), EnsembleMember(other, None, 3.0)), temperature=0.7)
    parts = [evaluate(one, data, Center(12)), evaluate(other, data)]
    expected = evaluate(ensemble, data)
    for rows in (4096, 7):  # images at a time
        monkeypatch.setattr(room, "IMAGES_PER_CHUNK", rows)
        found = fuse(parts, (1.0, 3.0), 0.7)
        assert_near(found.scores, expected.scores)
        assert (found.measures["top1"], found.measures["top5"]) == (
            expected.measures["top1"],
            expected.measures["top5"],
        )
        assert found.measures["loss"] == pytest.approx(expected.measures["loss"], rel=1e-5)
        assert found.classes == SEVEN and (found.ids == data.ids).all()


def test_scores_of_other_images_are_not_fused() -> None:
    one, other = random_scores(1), random_scores(2)
    with pytest.raises(UserError, match=r"results 1 and 2 are for different images \(200 and 199, 199 in both\)"):
        fuse([one, evaluation_of(one.classes, one.targets[1:], one.scores[1:], one.ids[1:], 200)], (1.0, 1.0))
    with pytest.raises(UserError, match="have different labels for the same images"):
        fuse([one, replace(other, targets=other.targets[::-1])], (1.0, 1.0))
    with pytest.raises(UserError, match="only in member 2: 'z'"):
        fuse([one, replace(other, classes=("a", "b", "c", "z"))], (1.0, 1.0))


def loss_of(parts: list[Evaluation], weights: np.ndarray) -> float:
    return cross_entropy(fuse(parts, tuple(weights.tolist())).scores, parts[0].targets.numpy())


def test_fitted_weights_have_the_least_loss() -> None:
    parts = [random_scores(1, good=2.0), random_scores(2, good=1.0), random_scores(3, good=0.2)]
    fitted = np.array(fit_weights(parts))
    assert fitted.sum() == pytest.approx(1.0) and (fitted >= 0).all() and fitted[0] == fitted.max()

    def loss(free: np.ndarray) -> float:  # of the simplex, by a softmax
        return loss_of(parts, np.exp(free) / np.exp(free).sum())

    oracle = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10, "maxiter": 2000})
    assert loss_of(parts, fitted) <= oracle.fun + 1e-6
    assert loss_of(parts, fitted) < loss_of(parts, np.ones(3) / 3) - 1e-3  # equal weights are worse


def test_a_useless_member_gets_no_weight_and_equal_members_share() -> None:
    useful, noise = random_scores(1, n=2000, good=3.0), random_scores(2, n=2000, good=-3.0)
    assert fit_weights([useful, noise])[1] < 1e-3
    assert fit_weights([useful, useful]) == pytest.approx((0.5, 0.5))
    assert fit_weights([useful]) == (1.0,)


def test_confident_mistakes_do_not_break_the_fit() -> None:
    sure = random_scores(1, n=50)
    wrong = replace(
        sure, scores=np.where(np.arange(4) == (sure.targets.numpy()[:, None] + 1) % 4, 0, -1e4).astype(np.float32)
    )
    weights = fit_weights([wrong, wrong, sure])
    assert np.isfinite(weights).all() and weights[2] > 0.9


def test_an_ensemble_describes_itself_with_a_line_for_each_member() -> None:
    inner = Ensemble((EnsembleMember(Fixed(1)),), temperature=2.0)
    lines = repr(Ensemble((EnsembleMember(Fixed(0), Center(), 0.25), EnsembleMember(inner, weight=0.75)))).splitlines()
    assert lines[0] == "Ensemble of 2, 4 classes, temperature 1"
    assert lines[1].startswith("  0.25 x Fixed(seed=0") and lines[1].endswith(", protocol center")
    assert lines[2] == "  0.75 x Ensemble of 1, 4 classes, temperature 2"
    assert lines[3].startswith("    1 x Fixed(seed=1")


def random_logits(seed: int, n: int = 200, k: int = 3, good: float = 1.0) -> Evaluation:
    random = np.random.default_rng(seed)
    marks = np.random.default_rng(0).integers(-1, 2, (n, k)).astype(np.int8)
    scores = (random.normal(size=(n, k)) + good * marks).astype(np.float32)
    return evaluation_of(tuple("abcdefgh"[:k]), AnyOf(marks), scores, np.arange(n) + 7, n)


def sigmoid(scores: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1 / (1 + np.exp(-scores.astype(np.float64)))
    return found


def test_logits_are_fused_by_the_mean_of_probabilities() -> None:
    one, other = random_logits(1), random_logits(2)
    fused = fuse([one, other], (1.0, 3.0))
    assert_near(sigmoid(fused.scores), 0.25 * sigmoid(one.scores) + 0.75 * sigmoid(other.scores), within=1e-6)
    assert fused.main == "map" and fused.measures["map"] > max(one.measures["map"], other.measures["map"])
    members = [EnsembleMember(Fixed(1, link="sigmoid")), EnsembleMember(Fixed(2, link="sigmoid"), weight=3.0)]
    thresholds = tuple(0.1 for _ in CLASSES)
    ensemble = Ensemble(tuple(members), thresholds=thresholds)
    assert ensemble.link == "sigmoid" and EnsembleMember(ensemble).thresholds == thresholds
    image = [np.full((4, 4, 3), 7, np.uint8)]
    each = [sigmoid(member.classify(image).numpy()) for member in members]
    assert_near(sigmoid(ensemble.classify(image).numpy()), 0.25 * each[0] + 0.75 * each[1], within=1e-6)


def exact_fusion(scores: list[float], weights: Sequence[float], temperature: float) -> float:
    """Return the logit of the weighted mean of sigmoids, divided by the temperature, computed with 60 digits."""
    with decimal.localcontext(prec=60):
        total = sum(map(decimal.Decimal, weights))
        shares = [decimal.Decimal(weight) / total for weight in weights]
        terms = [s / (1 + (-decimal.Decimal(x)).exp()) for s, x in zip(shares, scores, strict=True)]
        mean = sum(terms, decimal.Decimal(0))
        return float((mean / (1 - mean)).ln() / decimal.Decimal(temperature))


@pytest.mark.parametrize("temperature", [1.0, 0.4, 3.0])
def test_fused_logits_are_exact_where_probabilities_round_to_1(temperature: float) -> None:
    """Check also that images of which every member is sure stay in order."""
    random, weights = np.random.default_rng(4), (0.5, 1.25, 2.0)
    members = (random.uniform(-60, 60, (3, 7, 2))).astype(np.float32)
    members[:, 0], members[:, 1] = 50, 55
    found = mean_posterior([torch.from_numpy(m) for m in members], weights, temperature, "sigmoid").numpy()
    for n, k in np.ndindex(7, 2):
        assert found[n, k] == pytest.approx(exact_fusion(members[:, n, k].tolist(), weights, temperature), rel=1e-6)
    assert (found[1] > found[0]).all()


def test_members_of_both_kinds_are_refused() -> None:
    kinds = [EnsembleMember(Fixed(1)), EnsembleMember(Fixed(2, link="sigmoid"))]
    with pytest.raises(UserError, match="members 1 and 2 of an ensemble have different links"):
        Ensemble(tuple(kinds))


def test_weights_fitted_to_marks_have_the_least_loss() -> None:
    """Compare with a grid: each judged mark is an observation, and other marks change nothing."""
    parts = [random_logits(1, good=1.0), random_logits(2, good=0.5)]
    fitted = fit_weights(parts)
    losses = [fuse(parts, (w, 1 - w)).measures["loss"] for w in np.linspace(0, 1, 101)]
    assert fuse(parts, fitted).measures["loss"] <= min(losses) + 1e-5
    assert fitted[0] == pytest.approx(np.argmin(losses) / 100, abs=0.02) and 0 < fitted[1] < 1
