"""Dropout keeps the right share, scales what it keeps and follows torch's seed, checked against a numpy mask."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imclass.core.runtime import reseed
from imclass.models.layers import dropout
from imclass.models.layers.dropout import Dropout
from imclass.models.nets.lenet import LeNet
from imclass.models.nets.lenet import Row as LeNetRow
from imclass.models.nets.vgg_bn_drop import Row, VGGBNDrop

FORMATS = [torch.contiguous_format, torch.channels_last]
PRECISIONS = [torch.float32, torch.bfloat16, torch.float64]


def drop(x: Tensor, p: float = 0.4, seed: int = 0) -> Tensor:
    reseed(seed, x.device)
    return Dropout(p)(x)


def by_numpy(x: np.ndarray, p: float, seed: int) -> np.ndarray:
    """Apply dropout to a flat float64 array: 16 bits per element, offset so that signed bits compare as unsigned."""
    reseed(seed, torch.device("cpu"))
    fast_seed = int(torch.empty((), dtype=torch.int64).random_())
    words = np.random.SFC64(fast_seed).random_raw(len(x) // 4 + 1).view(np.uint16)[: len(x)]
    return np.where((words ^ 0x8000) >= round(p * 65536), x / (1 - p), 0)


def pair_statistic(kept: np.ndarray) -> float:
    """Return chi-square of neighbouring pairs against independence, with one degree of freedom."""
    pairs = kept.reshape(-1, 2).astype(int)
    table = np.histogram2d(pairs[:, 0], pairs[:, 1], bins=2)[0]
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_rate_is_within_five_sigma(p: float, dtype: torch.dtype) -> None:
    n = 400_000
    zeros = (drop(torch.ones(n, dtype=dtype), p) == 0).sum().item()
    assert abs(zeros - n * p) < 5 * (n * p * (1 - p)) ** 0.5


def test_a_rate_off_by_a_hundredth_would_be_noticed() -> None:
    n, p = 400_000, 0.5
    zeros = (drop(torch.ones(n), p + 0.01) == 0).sum().item()
    assert abs(zeros - n * p) > 5 * (n * p * (1 - p)) ** 0.5


@pytest.mark.parametrize("shape", [(1,), (5, 7), (3, 2, 5, 3), (2, 8, 1, 1), (0, 4), (4, 6, 2, 2)])
@pytest.mark.parametrize("p", [0.3, 0.5])
def test_it_matches_the_mask_and_scale_of_numpy(shape: tuple[int, ...], p: float) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    expected = by_numpy(x.numpy().ravel().astype(np.float64), p, seed=3).reshape(shape)
    np.testing.assert_allclose(drop(x, p, seed=3).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_memory_order_and_the_precision_are_kept(order: torch.memory_format, dtype: torch.dtype) -> None:
    x = torch.randn(3, 8, 5, 4).to(dtype).contiguous(memory_format=order)
    result = drop(x)
    assert result.is_contiguous(memory_format=order)
    assert (result.dtype, result.shape) == (dtype, x.shape)
    kept = result != 0
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(result[kept], (x.double() / 0.6).to(dtype)[kept])


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_gradient_is_mask_times_scale(order: torch.memory_format, dtype: torch.dtype) -> None:
    x = torch.rand(3, 8, 5, 4).add(1).to(dtype).contiguous(memory_format=order).requires_grad_()
    gradient = torch.randn(3, 8, 5, 4).to(dtype)  # contiguous for either order of x
    result = drop(x)
    result.backward(gradient)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, ((result != 0) * gradient.double() / 0.6).to(dtype))


def test_an_expanded_gradient_without_strides_is_masked_correctly() -> None:
    x = torch.ones(4, 8, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    result = drop(x)
    result.sum().backward()
    torch.testing.assert_close(x.grad, result.detach())


def test_a_slice_has_the_same_mask_as_its_copy() -> None:
    x = torch.randn(4, 6, 8, 8)[:, ::2, :, ::2]
    assert torch.equal(drop(x), drop(x.clone(memory_format=torch.contiguous_format)))


def test_the_seed_decides_and_each_call_differs() -> None:
    x = torch.ones(1000)
    assert torch.equal(drop(x, seed=5), drop(x, seed=5))
    assert not torch.equal(drop(x, seed=5), drop(x, seed=6))
    assert not torch.equal(Dropout(0.4)(x), Dropout(0.4)(x))


@pytest.mark.parametrize("block", [4, 64, 996])
def test_the_mask_does_not_depend_on_the_block_size(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1001)
    expected = drop(x)
    monkeypatch.setattr(dropout, "BLOCK_ELEMENTS", block)
    assert torch.equal(drop(x), expected)


def test_neighbours_are_independent() -> None:
    kept = (drop(torch.ones(400_000), 0.5) != 0).numpy()
    for lag in range(1, 5):  # four elements share a word of the generator
        pairs = np.stack([kept[:-lag], kept[lag:]], axis=1)[:: lag + 1]
        assert pair_statistic(pairs.ravel()) < 25  # five sigma


def test_dependent_neighbours_would_be_noticed() -> None:
    kept = (drop(torch.ones(200_000), 0.5) != 0).numpy()
    twins = kept.copy()
    twins[1:8000:2] = twins[0:8000:2]  # four pairs in a hundred
    assert pair_statistic(twins) > 25 > pair_statistic(kept)


def test_layers_and_samples_have_different_masks() -> None:
    reseed(0, torch.device("cpu"))
    one, two = Dropout(0.5)(torch.ones(2, 10_000)), Dropout(0.5)(torch.ones(2, 10_000))
    for a, b in ((one[0], one[1]), (one[0], two[0])):
        assert (a == b).float().mean().item() == pytest.approx(0.5, abs=0.025)  # five sigma


@pytest.mark.parametrize("p", [0.0, 1e-9])
def test_a_rate_of_zero_is_the_identity(p: float) -> None:
    x = torch.randn(50)
    torch.testing.assert_close(Dropout(p)(x), x)


def test_in_evaluation_it_is_the_identity() -> None:
    x = torch.randn(50)
    state = torch.get_rng_state()
    assert torch.equal(Dropout(0.9).eval()(x), x)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_rate_of_one_drops_everything() -> None:
    assert (Dropout(1.0)(torch.randn(50)) == 0).all()


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_a_rate_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dropout(p)


def test_networks_use_this_dropout() -> None:
    for network, expected in (
        (LeNet(LeNetRow(dropout=0.5)), 2),
        (VGGBNDrop(Row(widths=(2, 2, 2, 2, 2), hidden=3)), 10),
    ):
        found = [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]
        assert len(found) == expected
        assert all(type(layer) is Dropout for layer in found)
