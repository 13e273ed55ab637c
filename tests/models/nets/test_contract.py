"""The contract that every network in the folder must fulfil, checked on narrow copies built from its row."""

import copy
from collections.abc import Iterator
from dataclasses import asdict, astuple
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from imclass.core.codec import to_json
from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.core.runtime import Arithmetic
from imclass.models.arithmetic.precision import forward, outputs, set_memory_format
from imclass.models.classifier import NetworkClassifier, create, load_network_classifier, networks, row_of
from imclass.models.entry import NetworkEntry
from imclass.models.layers.sizes import BatchNormBypass
from imclass.models.network import Network
from tests.support.narrow import imitate_training, narrow
from tests.support.tolerance import assert_near, near

ENTRIES: dict[str, NetworkEntry] = networks().entries
every_network = pytest.mark.parametrize("name", sorted(ENTRIES))


def form(entry: NetworkEntry) -> tuple[Any, ...]:
    """Return what decides the code path of a constructor: class, switches of the row, numbers of stages, zeros."""
    return entry.build, *(kind(field) for field in astuple(entry.row))


def kind(field: Any) -> Any:
    """Return a switch unchanged, whether a number is 0, or a tuple's length and the kind of its first item."""
    if isinstance(field, tuple):
        return len(field), *(kind(item) for item in field[:1])
    return field if isinstance(field, bool | str) else field == 0


def forms() -> Iterator[Any]:
    """Yield every network, and mark those slow that have the form of an earlier one."""
    seen = set()
    for name, entry in sorted(ENTRIES.items()):
        # Narrow copies of two sizes of the same form are nearly always the same network.
        yield pytest.param(name, marks=[pytest.mark.slow] if form(entry) in seen else [])
        seen.add(form(entry))


every_form = pytest.mark.parametrize("name", list(forms()))


def by_file() -> Iterator[Any]:
    """Yield every network, and mark all but one of each file slow: for costly tests that depend on no switch."""
    seen = set()
    for name, entry in sorted(ENTRIES.items()):
        yield pytest.param(name, marks=[pytest.mark.slow] if entry.build.__module__ in seen else [])
        seen.add(entry.build.__module__)


one_of_each_file = pytest.mark.parametrize("name", list(by_file()))


def create_narrow(name: str, classes: int = 10, seed: int = 0) -> NetworkClassifier:
    return create(Model(name, narrow(ENTRIES[name])), [f"class {k}" for k in range(classes)], seed=seed)


@cache
def original(name: str) -> NetworkClassifier:
    return create_narrow(name)


def classifier(name: str) -> NetworkClassifier:
    """Return a copy that a test may change, since copying is several times as fast as building a network."""
    return copy.deepcopy(original(name))


def pictures(network: Network, n: int = 4) -> Tensor:
    shape = (n, network.w_in, network.size, network.size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def learn(network: Network, images: Tensor) -> None:
    """Run one backward pass of the mean loss."""
    network.zero_grad()
    functional.cross_entropy(network(images).float(), torch.arange(len(images)) % 2).backward()


def gradients(network: Network) -> dict[str, float]:
    """Return the largest magnitude of each parameter's gradient, or NaN for a missing or non-finite one."""
    return {
        name: p.grad.abs().max().item() if p.grad is not None and p.grad.isfinite().all() else float("nan")
        for name, p in network.named_parameters()
    }


def test_the_fast_set_covers_every_class_and_switch() -> None:
    fast = {name for name, *_ in (p.values for p in forms() if not p.marks)}
    assert {form(ENTRIES[name]) for name in fast} == {form(entry) for entry in ENTRIES.values()}
    assert {"vgg-a", "vgg-a-bn", "vgg-a-lrn", "resnet-101", "resnet-18", "resnet-18-a", "alexnet-2012"} <= fast
    assert len(fast) < len(ENTRIES)


# A thousand layers take seconds to build, and the same classes with a hundred are not slow.
DEEPEST = ("resnet-cifar-1202", "resnet-cifar-1202-b", "resnet-preact-cifar-1001")
full_size = [pytest.param(name, marks=[pytest.mark.slow] if name in DEEPEST else []) for name in sorted(ENTRIES)]


@pytest.mark.parametrize("name", full_size)
def test_at_full_size_it_has_the_stated_parameters_and_scores(name: str) -> None:
    entry = ENTRIES[name]
    with torch.device("meta"):
        network = entry.build(entry.row, entry.classes, entry.w_in).eval()
    with BatchNormBypass():
        scores = network(torch.zeros(2, entry.w_in, entry.row.size, entry.row.size, device="meta"))
    main = [p for name, p in network.named_parameters() if not name.startswith("sides.")]
    assert sum(p.numel() for p in main) == entry.parameters
    assert scores.shape == (2, entry.classes)
    assert (network.size, network.w_in) == (entry.row.size, entry.w_in)


@every_network
def test_a_copy_can_be_narrow(name: str) -> None:
    network = create_narrow(name, classes=ENTRIES[name].classes).network
    assert sum(p.numel() for p in network.parameters()) < max(200_000, ENTRIES[name].parameters // 8)


@every_network
def test_its_row_survives_json(name: str) -> None:
    row = ENTRIES[name].row
    assert row_of(ENTRIES[name], to_json(row), name) == row


@every_form
@pytest.mark.parametrize("classes", [2, pytest.param(1000, marks=pytest.mark.slow)])
def test_one_image_has_one_score_per_class(name: str, classes: int) -> None:
    found = create_narrow(name, classes)
    assert found.scores(pictures(found.network, n=1)).shape == (1, classes)


@every_form
@pytest.mark.parametrize("w_in", [1, 3])
def test_images_can_be_grey_or_coloured(name: str, w_in: int) -> None:
    entry = ENTRIES[name]
    network = imitate_training(entry.build(type(entry.row)(**asdict(entry.row) | narrow(entry)), 5, w_in))
    assert network(pictures(network, 2)).shape == (2, 5)


@every_form
def test_the_gradient_reaches_every_parameter(name: str) -> None:
    """Evaluation mode, because in training the gradient of a bias before batch norm is only rounding error."""
    network = imitate_training(classifier(name).network)
    learn(network, pictures(network, 8))
    assert [name for name, largest in gradients(network).items() if not largest > 0] == []


@one_of_each_file
def test_gradients_in_training_are_finite(name: str) -> None:
    network = classifier(name).network.train()
    learn(network, pictures(network, 8))
    assert [name for name, largest in gradients(network).items() if not largest < 1e4] == []


def test_a_parameter_without_a_gradient_would_be_noticed() -> None:
    """There are two kinds: unused ones, and those before a batch norm that multiplies by 0, which `trained` undoes."""
    network = classifier("small-resnet").network.eval()
    network.register_parameter("spare", nn.Parameter(torch.ones(1)))
    learn(network, pictures(network, 8))
    without = {name for name, largest in gradients(network).items() if not largest > 0}
    assert {"spare", "features.6.residual.0.weight"} <= without
    learn(imitate_training(network), pictures(network, 8))
    assert [name for name, largest in gradients(network).items() if not largest > 0] == ["spare"]


@one_of_each_file
def test_a_file_keeps_the_scores(name: str, tmp_path: Path) -> None:
    found = classifier(name)
    images = pictures(imitate_training(found.network))
    found.save(tmp_path / "model.safetensors")
    loaded = load_network_classifier(tmp_path)
    assert torch.equal(loaded.scores(images), found.scores(images))
    assert loaded.row == found.row


@every_form
def test_dense_at_the_native_size_is_forward(name: str) -> None:
    network = imitate_training(classifier(name).network)
    images = pictures(network)
    dense = network.dense(images)
    assert dense.shape == (4, 10, 1, 1)
    assert_near(dense.mean((2, 3)), network(images))


@every_form
def test_dense_of_a_larger_image_is_a_map(name: str) -> None:
    network = imitate_training(classifier(name).network)
    side = 2 * network.size
    scores = network.dense(torch.rand(1, network.w_in, side, side))
    assert scores.shape[:2] == (1, 10)
    assert min(scores.shape[2:]) > 1
    assert not near(scores, scores[:, :, :1, :1].expand_as(scores), 1e-4)


@every_form
def test_embed_returns_one_vector_per_image(name: str) -> None:
    network = imitate_training(classifier(name).network)
    embedded = network.embed(pictures(network))
    assert (embedded.ndim, len(embedded)) == (2, 4)
    if isinstance(network.head[-1], nn.Linear):  # NIN ends in class maps and their mean, with a ReLU between
        assert_near(network.head[-1](embedded), network(pictures(network)))


@one_of_each_file
def test_the_seed_decides_the_weights(name: str) -> None:
    three = (original(name), create_narrow(name), create_narrow(name, seed=4))
    one, same, other = (tensors_digest(found.network.state_dict()) for found in three)
    assert one == same != other


@one_of_each_file
def test_gradients_keep_channels_last(name: str) -> None:
    """A layer that returns gradients in another memory order slows down all layers before it."""
    arithmetic, wrong = Arithmetic("bf16", "nhwc"), []

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...], maps: Tensor) -> None:
        def check(gradient: Tensor) -> None:
            if min(gradient.shape[1], gradient.shape[2] * gradient.shape[3]) > 1 and gradient.stride(1) > 1:
                wrong.append(layer)

        if maps.requires_grad:
            maps.register_hook(check)

    network = classifier(name).network
    set_memory_format(network, arithmetic).train()
    leaves = [layer for layer in network.features.modules() if not list(layer.children())]
    for layer in leaves[:-1]:  # the gradient of the last layer may come from a flat vector
        layer.register_forward_hook(watch)
    images = pictures(network)
    scores = outputs(forward(network, images, arithmetic))
    torch.stack([functional.cross_entropy(s.float(), torch.arange(len(images)) % 2) for s in scores]).sum().backward()
    assert wrong == []


@every_form
def test_training_differs_only_by_dropout_and_batch_norm(name: str) -> None:
    network = imitate_training(classifier(name).network)
    images = pictures(network)
    evaluated = network(images)
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.Dropout):
            layer.eval()
    assert_near(network(images), evaluated)


@every_form
def test_scoring_changes_nothing(name: str) -> None:
    found = classifier(name)
    images, before = pictures(found.network), tensors_digest(found.network.state_dict())
    assert torch.equal(found.scores(images), found.scores(images))
    assert tensors_digest(found.network.state_dict()) == before


@every_form
def test_a_score_does_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    network = imitate_training(classifier(name).network)
    images = pictures(network)
    assert_near(network(images[1:2]), network(images)[1:2])


@every_form
def test_an_image_that_is_too_small_is_refused(name: str) -> None:
    network = imitate_training(classifier(name).network)
    side = network.size // 4
    with pytest.raises(UserError, match="the network expects"):
        network(torch.zeros(1, network.w_in, side, side))


@one_of_each_file
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_arithmetic_gives_similar_scores_and_every_gradient(name: str, precision: str) -> None:
    """Channels last. In bf16 convolutions and linear layers have rounded copies of weights; the rest is float32."""
    network = imitate_training(classifier(name).network)
    images, exact = pictures(network, 8), network(pictures(network, 8))
    scores = forward(network.to(memory_format=torch.channels_last), images, Arithmetic(precision, "nhwc"))  # type: ignore[call-overload]
    assert scores.dtype == (torch.float32 if precision == "fp32" else torch.bfloat16)
    difference = (scores.float() - exact).square().mean() / exact.square().mean()
    assert difference.sqrt() < (1e-4 if precision == "fp32" else 0.1)
    network.zero_grad()
    functional.cross_entropy(scores.float(), torch.arange(8)).backward()
    assert [name for name, largest in gradients(network).items() if not largest > 0] == []
    assert {p.grad.dtype for p in network.parameters() if p.grad is not None} == {torch.float32}
    forward(network.train(), images, Arithmetic(precision, "nhwc")).float().logsumexp(1).sum().backward()
    assert [name for name, largest in gradients(network).items() if not largest < 1e4] == []


@every_network
def test_only_class_tensors_depend_on_the_number_of_classes(name: str) -> None:
    """The numbers of classes are chosen so that no other dimension of a narrow network has the same length."""
    entry, shapes = ENTRIES[name], {}
    heads = (
        {"aux": True, "size": entry.row.size} if "aux" in asdict(entry.row) else {}
    )  # smaller images allow no auxiliary heads
    row = row_of(entry, narrow(entry) | heads, name)
    for classes in (37, 41):
        with torch.device("meta"):
            network = entry.build(row, classes, entry.w_in)
        shapes[classes] = {tensor: value.shape for tensor, value in network.state_dict().items()}
        axes = network.class_tensors()
        assert {shapes[classes][tensor][axis] for tensor, axis in axes.items()} == {classes}
        assert len(axes) >= 1 + len(network.sides)
    assert {tensor for tensor in shapes[37] if shapes[37][tensor] != shapes[41][tensor]} == set(axes)
