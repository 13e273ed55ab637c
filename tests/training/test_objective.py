"""Loss and gradients of a step: sums over parts, auxiliary heads, and the random state of dropout."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imclass.core.config import BinaryCrossEntropy, CrossEntropy, Model
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf, Soft
from imclass.data.augment.mixup import Mixup
from imclass.evaluation.measures.multi_label import binary_cross_entropy
from imclass.models.layers.dropout import Dropout
from imclass.training.finite import are_finite, first_nonfinite
from imclass.training.objective import Gradients, Learner
from imclass.training.parallel import SingleProcess
from imclass.training.plan import Leg
from tests.support.legs import enter_leg, leg_of, noise
from tests.support.tolerance import assert_near

LENET = {"dropout": 0.5}


def gradients(leg: Leg, learner: Learner, step: int = 0) -> Gradients:
    """Return the gradients of the first batch, over all of its parts."""
    batch = next(leg.loader.batches(0))
    folded = learner.gradients(batch.parts, range(batch.count), batch.count > 1, len(batch), step)
    found = SingleProcess().combine(folded)
    assert found is not None
    return found


def test_cross_entropy_is_the_negative_log_of_the_softmax() -> None:
    scores, labels = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    wanted = -np.log(np.exp(scores) / np.exp(scores).sum(1, keepdims=True))[np.arange(5), labels]
    found = CrossEntropy().loss(torch.from_numpy(scores), OneOf(labels).on_device("cpu"))
    assert found.shape == (5,) and np.allclose(found.numpy(), wanted, rtol=1e-12)


def test_cross_entropy_of_shares_agrees_with_pytorch_and_with_labels() -> None:
    scores, labels = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 3))), np.array([0, 2, 1, 1, 0])
    rows = np.random.default_rng(1).dirichlet(np.ones(3), 5).astype(np.float32)
    soft, hard = Soft(rows).on_device("cpu"), Soft(np.eye(3, dtype=np.float32)[labels]).on_device("cpu")
    wanted = -(torch.from_numpy(rows) * scores.log_softmax(1)).sum(1)
    assert_near(CrossEntropy().loss(scores, soft), wanted, within=1e-6)
    assert_near(
        CrossEntropy().loss(scores, hard), CrossEntropy().loss(scores, OneOf(labels).on_device("cpu")), within=1e-12
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_cross_entropy_agrees_with_pytorch_and_a_plain_loop(smoothing: float) -> None:
    generator = np.random.default_rng(0)
    scores, labels = generator.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    rows = generator.dirichlet(np.ones(3), 5).astype(np.float32)
    objective, tensor = CrossEntropy(smoothing=smoothing), torch.from_numpy(scores)
    found = objective.loss(tensor, OneOf(labels).on_device("cpu")).numpy()
    soft = objective.loss(tensor, Soft(rows).on_device("cpu")).numpy()
    theirs = functional.cross_entropy(tensor, torch.from_numpy(labels), reduction="none", label_smoothing=smoothing)
    assert np.array_equal(found, theirs.numpy())
    for i, label in enumerate(labels):
        logs = scores[i] - np.log(sum(np.exp(score) for score in scores[i]))
        hard = sum(-((1 - smoothing) * (k == label) + smoothing / 3) * logs[k] for k in range(3))
        mixed = sum(-((1 - smoothing) * float(rows[i, k]) + smoothing / 3) * logs[k] for k in range(3))
        assert found[i] == pytest.approx(hard, rel=1e-12) and soft[i] == pytest.approx(mixed, rel=1e-6)


def test_a_mixed_image_counts_with_the_mean_weight_of_its_classes() -> None:
    """Compare with a plain loop, in a step of two parts. Training accuracy counts the class with the larger share."""
    leg = leg_of(noise(8, 28, 1), Model("lenet-5"), 28, "grey", micro_batches=2, augment=(Mixup(1.0),))
    weights = np.array([0.5, 2.0, 3.0, 1.0])
    learner = enter_leg(replace(leg, class_weights=weights)).learner
    batch, total, correct = next(leg.loader.batches(0)), 0.0, 0
    for part in batch.parts.values():
        scores = learner.network(part.images).detach().double().numpy()
        for row, score in zip(part.targets.numpy().astype(float), scores, strict=True):
            logs = score - np.log(np.exp(score).sum())
            total += sum(w * r for w, r in zip(weights, row, strict=True)) * -(row * logs).sum() / 8
            correct += int(row.argmax() == score.argmax())
    found = gradients(leg, learner)
    assert found.main == pytest.approx(total, rel=1e-5) and found.correct == correct
    assert gradients(leg, enter_leg(leg).learner).main != pytest.approx(total, rel=1e-3)


def test_binary_cross_entropy_is_the_sum_over_judged_classes() -> None:
    """Check with a twin that unjudged classes would add to the loss if they counted as absent."""
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 4))).requires_grad_()
    marks = np.random.default_rng(1).integers(-1, 2, (6, 4)).astype(np.int8)
    found = BinaryCrossEntropy().loss(scores, AnyOf(marks).on_device("cpu"))
    chances = scores.detach().sigmoid().numpy()
    wanted = (-np.log(np.where(marks == 1, chances, 1 - chances)) * (marks >= 0)).sum(1)
    assert found.shape == (6,) and np.allclose(found.detach().numpy(), wanted, rtol=1e-12)
    assert found.mean().item() == pytest.approx(binary_cross_entropy(scores.detach().numpy(), marks), rel=1e-12)
    found.sum().backward()
    assert scores.grad is not None and (scores.grad.numpy()[marks < 0] == 0).all()
    assert (BinaryCrossEntropy().loss(scores, AnyOf(np.maximum(marks, 0)).on_device("cpu")) > found)[
        (marks < 0).any(1)
    ].all()


def test_gradients_of_parts_sum_to_those_of_the_batch() -> None:
    """Compare 3 uneven parts with one, without dropout and batch norm."""
    found = []
    for parts in (1, 3):
        leg = leg_of(noise(7, 28, 1), Model("lenet-5"), 28, "grey", batch=7, micro_batches=parts)
        found.append(gradients(leg, enter_leg(leg).learner))
        assert found[-1].main == found[-1].total  # the network has no auxiliary heads
    assert found[0].main == pytest.approx(found[1].main, rel=1e-6) and found[0].correct == found[1].correct
    for one, other in zip(found[0].values, found[1].values, strict=True):
        assert one is not None and other is not None
        assert_near(one, other, within=1e-5)


@pytest.mark.parametrize("parts", [1, 3])
def test_the_total_adds_auxiliary_heads_with_their_weight(parts: int) -> None:
    """Compare losses, and the gradients of the total, with a plain computation in PyTorch."""
    model = Model("googlenet", {"size": 80, "width": 0.125})
    leg = leg_of(noise(7, 80), model, 80, batch=7, micro_batches=parts)
    learner = enter_leg(leg).learner
    network = learner.network
    for layer in network.modules():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    whole = next(leg_of(noise(7, 80), model, 80, batch=7).loader.batches(0)).parts[0]
    labels = torch.as_tensor(whole.targets.numpy())
    losses = [functional.cross_entropy(scores, labels) for scores in network(whole.images)]
    total = losses[0] + network.side_weight * (losses[1] + losses[2])
    expected = torch.autograd.grad(total, list(learner.parameters))
    found = gradients(leg, learner)
    assert found.main == pytest.approx(losses[0].item(), rel=1e-5)
    assert found.total == pytest.approx(total.item(), rel=1e-5)
    assert found.total - found.main > 0.5
    for value, wanted in zip(found.values, expected, strict=True):
        assert value is not None
        assert_near(value, wanted, within=1e-4)


@pytest.mark.parametrize("parts", [1, 3])
def test_losses_are_weighted_as_by_pytorch(parts: int) -> None:
    """Compare with PyTorch's own weights of classes, divided by the number of images in the step."""
    leg = leg_of(noise(7, 28, 1), Model("lenet-5"), 28, "grey", batch=7, micro_batches=parts)
    weights = np.array([0.5, 2.0, 3.0, 1.0])
    learner = enter_leg(replace(leg, class_weights=weights)).learner
    (whole,) = leg_of(noise(7, 28, 1), Model("lenet-5"), 28, "grey", batch=7).loader.batches(0)
    scores = learner.network(whole.parts[0].images)
    labels = torch.from_numpy(whole.parts[0].targets.numpy())
    wanted = functional.cross_entropy(scores, labels, torch.from_numpy(weights).float(), reduction="sum") / 7
    found = gradients(leg, learner)
    assert found.total == found.main == pytest.approx(wanted.item(), rel=1e-6)
    for value, expected in zip(found.values, torch.autograd.grad(wanted, list(learner.parameters)), strict=True):
        assert value is not None
        assert_near(value, expected, within=1e-5)


def test_dropout_follows_seed_step_and_part() -> None:
    leg = leg_of(noise(8, 28, 1), Model("lenet-5", dict(LENET)), 28, "grey", micro_batches=2)
    learner = enter_leg(leg).learner

    def gradient(seed: int, step: int) -> torch.Tensor:
        value = gradients(leg, replace(learner, seed=seed), step).values[0]
        assert value is not None
        return value.clone()

    first = gradient(0, 5)
    torch.rand(3)  # other draws in between
    assert torch.equal(first, gradient(0, 5))
    assert not torch.equal(first, gradient(0, 6)) and not torch.equal(first, gradient(1, 5))


def test_tensors_that_are_not_finite_are_named() -> None:
    fine, huge, bad = torch.ones(3), torch.full((3,), 1e30), torch.tensor([1.0, float("nan")])
    assert are_finite([fine, huge])  # although their norm overflows
    assert not are_finite([fine, bad])
    assert first_nonfinite([("a", fine), ("b", bad)]) == "b" and first_nonfinite([("a", huge)]) is None


def mean_loss(scores: Tensor, targets: OneOf) -> Tensor:
    """Return one number for a batch, as a kind must not."""
    return functional.cross_entropy(scores, torch.as_tensor(targets.labels))


def detached_loss(scores: Tensor, targets: OneOf) -> Tensor:
    """Return losses without a gradient, as a kind must not."""
    return functional.cross_entropy(scores.detach(), torch.as_tensor(targets.labels), reduction="none")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (mean_loss, "cross-entropy is one number for 8 images; return one"),
        (detached_loss, "cross-entropy has no gradient"),
    ],
)
def test_a_kind_without_a_loss_for_each_image_is_refused(
    loss: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refuse a mean: divided by the images a second time, it would learn at a fraction of the rate, unnoticed."""
    monkeypatch.setattr(CrossEntropy, "loss", lambda self, scores, targets: loss(scores, targets))
    leg = leg_of(noise(8, 28, 1), Model("lenet-5"), 28, "grey")
    with pytest.raises(UserError, match=message):
        gradients(leg, enter_leg(leg).learner)


def test_frozen_heads_have_losses_without_gradients() -> None:
    rates = {"*": 0.0, "head": 1.0}
    leg = leg_of(noise(4, 80), Model("googlenet", {"size": 80, "width": 0.125}), 80, batch=4, rates=rates)
    learner = enter_leg(leg).learner
    found = gradients(leg, learner)
    assert found.total > found.main and len(found.values) == 2
