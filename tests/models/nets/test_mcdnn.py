"""Columns of the multi-column network: parameters and maps by hand, scores of a second implementation, an ensemble."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imclass.core.config import Model
from imclass.evaluation.ensemble import Ensemble, EnsembleMember
from imclass.models.classifier import create
from imclass.models.nets.mcdnn import NETS, Column, Row
from tests.support.outline import count, outline
from tests.support.tolerance import assert_near


def test_parameters_are_those_of_the_layers_by_hand() -> None:
    mnist = (16 + 1) * 20 + (20 * 25 + 1) * 40 + (40 * 9 + 1) * 150 + 151 * 10
    cifar = (27 + 1) * 300 + (300 * 4 + 1) * 300 + (300 * 9 + 1) * 300 + (300 * 4 + 1) * 300
    cifar += 301 * 300 + 301 * 100 + 101 * 10
    assert count(outline(NETS["mcdnn-mnist"])) == mnist == 76_040
    assert count(outline(NETS["mcdnn-cifar"])) == cifar == 1_660_710


@pytest.mark.parametrize(
    ("name", "sides"), [("mcdnn-mnist", [26, 13, 9, 3]), ("mcdnn-cifar", [30, 15, 14, 7, 5, 3, 2, 1])]
)
def test_poolings_round_up(name: str, sides: list[int]) -> None:
    """Without it, the last two layers of the network for CIFAR-10 would have nothing to work on."""
    network, maps = outline(NETS[name]), torch.empty(1, NETS[name].w_in, *2 * [NETS[name].row.size], device="meta")
    found = []
    for i, layer in enumerate(network.features):
        maps = layer(maps)
        found += [maps.shape[-1]] if i % 3 < 2 else []
    assert found == sides


@torch.no_grad()
def test_scores_are_those_of_functions_one_after_another() -> None:
    """The tangent follows each convolution here, before the pooling, as the paper describes the neurons."""
    network = Column(Row(14, (5, 6), (3, 4), (2, 3), (7,), init_bound=0.5), classes=3, w_in=2).double().eval()
    images = torch.rand(2, 2, 14, 14)
    weights = iter(network.parameters())

    def squash(values: Tensor) -> Tensor:
        return 1.7159 * (1 - 2 / ((4 / 3 * values).exp() + 1))

    maps = images.double()
    for pool in (2, 3):
        maps = squash(functional.conv2d(maps, next(weights), next(weights)))
        missing = -maps.shape[-1] % pool
        maps = functional.pad(maps, (0, missing, 0, missing), value=-torch.inf)
        maps = maps.unfold(2, pool, pool).unfold(3, pool, pool).amax((4, 5))
    hidden = squash(functional.linear(maps.flatten(1), next(weights), next(weights)))
    assert_near(network(images), functional.linear(hidden, next(weights), next(weights)), 1e-12)


def test_weights_begin_uniform_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    for name, p in Column(NETS["mcdnn-mnist"].row, w_in=1).named_parameters():
        assert p.abs().max() <= 0.05
        assert p.std().item() == pytest.approx(0.0 if name.endswith("bias") else 0.05 / 3**0.5, rel=0.1), name


def test_a_multi_column_network_averages_the_probabilities_of_its_columns() -> None:
    classes, draw = tuple("abc"), np.random.default_rng(0)
    columns = [create(Model("mcdnn-mnist", {"init_bound": 0.5}), classes, seed=seed) for seed in range(3)]
    images = [draw.integers(0, 256, (29, 29, 1), np.uint8) for _ in range(4)]
    probabilities = torch.stack([column.classify(images).softmax(1) for column in columns])
    assert (probabilities[0] - probabilities[1]).abs().max() > 0.1
    ensemble = Ensemble(tuple(map(EnsembleMember, columns)))
    assert_near(ensemble.classify(images).softmax(1), probabilities.mean(0))
