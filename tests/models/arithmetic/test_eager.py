"""The default engine: the network itself, and in bf16 a copy with rounded weights."""

import copy

import pytest
import torch
from torch import nn

from imclass.core.config import Model
from imclass.core.model_file import tensors_digest
from imclass.core.runtime import DEFAULT_ARITHMETIC, Arithmetic
from imclass.models.arithmetic.eager import EagerEngine, eager_engine
from imclass.models.classifier import create
from imclass.models.network import Network

BF16 = Arithmetic("bf16", "nhwc")
CHANNELS_LAST = Arithmetic("fp32", "nhwc")


def network(seed: int = 0) -> Network:
    return create(Model("resnet-cifar-20"), ("cat", "dog"), seed=seed).network


def views(side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (5, 3, side, side), dtype=torch.uint8, generator=generator)


def round_by_hand(original: Network) -> Network:
    """Return a copy in channels last whose convolutions and linear layers are in bf16."""
    rounded = copy.deepcopy(original).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    for layer in rounded.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.bfloat16()
    assert isinstance(rounded, Network)
    return rounded


@pytest.mark.parametrize("arithmetic", [DEFAULT_ARITHMETIC, CHANNELS_LAST])
def test_the_engine_is_the_network_in_evaluation_mode(arithmetic: Arithmetic) -> None:
    original = network().train()
    engine = eager_engine(original, arithmetic)
    found, maps = engine.scores(views()), engine.dense(views(40))
    assert not original.training and not found.requires_grad and found.dtype == torch.float32
    with torch.no_grad():
        small, large = (views(side).contiguous(memory_format=arithmetic.memory_format) for side in (32, 40))
        assert torch.equal(found, original(small)) and torch.equal(maps, original.dense(large))


def test_in_bf16_a_copy_computes_and_the_network_keeps_its_weights() -> None:
    original = network()
    before = tensors_digest(original.state_dict())
    found = eager_engine(original, BF16).scores(views())
    with torch.no_grad():
        expected = round_by_hand(original)(views().contiguous(memory_format=torch.channels_last)).float()
    assert torch.equal(found, expected) and tensors_digest(original.state_dict()) == before
    assert not torch.equal(found, eager_engine(original, CHANNELS_LAST).scores(views()))


def test_the_engine_of_another_network_computes_in_the_same_arithmetic() -> None:
    first, other = network(), network(1)
    for arithmetic in (DEFAULT_ARITHMETIC, BF16):
        engine = eager_engine(first, arithmetic).for_network(other)
        assert engine.arithmetic == arithmetic
        assert torch.equal(engine.scores(views()), eager_engine(other, arithmetic).scores(views()))


def test_a_classifier_s_engine_follows_its_network() -> None:
    classifier = create(Model("resnet-cifar-20"), ("cat", "dog"))
    assert isinstance(classifier.engine, EagerEngine) and classifier.engine.network is classifier.network
    other = classifier.with_network(network(1))
    assert torch.equal(other.scores(views()), EagerEngine(network(1)).scores(views()))
