"""`forward`, `embed` and `dense` agree with each other, and the input is prepared as numpy would prepare it."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from imclass.models.nets.lenet import LeNet, Row
from imclass.models.network import Network
from tests.support.tolerance import assert_near, near


class Tiny(Network):
    """3x3, ReLU; spatial mean; FC: the smallest network with a pooling head."""

    def __init__(self, size: int = 8, w_in: int = 3, classes: int = 4) -> None:
        super().__init__(size, w_in)
        self.features = nn.Sequential(nn.Conv2d(w_in, 5, 3), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, classes))


@pytest.fixture
def lenet() -> LeNet:
    torch.manual_seed(0)
    return LeNet(Row()).eval()


def images(n: int = 3, side: int = 28, channels: int = 1) -> Tensor:
    return torch.randint(
        0, 256, (n, channels, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize(
    ("mean", "std"),
    [((0.5,), (0.25,)), ((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261))],
    ids=["one value", "one value per channel"],
)
def test_uint8_is_divided_by_255_then_normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    network, batch = Tiny(), images(2, 8, 3)
    network.normalise(mean, std)
    shape = (1, -1, 1, 1)
    expected = (batch.numpy() / 255 - np.reshape(mean, shape)) / np.reshape(std, shape)
    assert_near(network.prepare(batch).numpy(), expected)


def test_floats_are_not_rescaled() -> None:
    network, batch = Tiny(), images(2, 8, 3)
    network.normalise((0.5,), (0.25,))
    assert_near(network.prepare(batch.float() / 255), network.prepare(batch))
    assert not near(network.prepare(batch.float()), network.prepare(batch), 1e-3)


def test_images_are_normalised_before_the_cast() -> None:
    """Rounded to bfloat16 first, the grey levels would normalise to other values, so the order shows."""
    network = Tiny(w_in=1).bfloat16()
    network.mean, network.std = network.mean.float() + 0.99, network.std.float() * 0.01
    ramp = torch.arange(240, 256, dtype=torch.uint8).view(1, 1, 4, 4)
    exact = (ramp.float() / 255 - 0.99) / 0.01
    assert_near(network.prepare(ramp), exact.bfloat16())
    cast_first = ((ramp.float() / 255).bfloat16() - 0.99) / 0.01
    assert (cast_first.float() - exact).abs().max() > 0.05


def test_an_image_is_normalised_by_itself() -> None:
    network, batch = Tiny(), images(4, 8, 3)
    batch[1] //= 16  # a dark image of little contrast
    network.normalise((0.5,), (0.25,), standardise=True)
    expected = []
    for image in batch.numpy().astype(np.float64) / 255:
        expected.append(0.5 + 0.5 * (image - image.mean()) / image.std(ddof=1))  # as PyTorch's std, which n - 1 divides
    found = network.prepare(batch)
    assert_near(found.numpy(), np.stack(expected))
    assert_near(network.prepare(batch.float() / 255), found)
    for i in range(4):
        assert_near(network.prepare(batch[i : i + 1])[0], found[i])
    network.normalise((0.5,), (0.25,))
    assert not near(network.prepare(batch), found, 0.1)
    assert network.prepare(batch[:0]).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("level", [0, 1, 77, 200, 255])
def test_an_image_of_one_colour_becomes_grey_and_one_pixel_of_another_shows(level: int) -> None:
    """Rounding leaves a std of about 1e-8 in place of 0, and dividing by it would give -0.5 to 1.5."""
    network = Tiny(32)
    network.normalise((0.0,), (1.0,), standardise=True)
    batch = torch.full((1, 3, 32, 32), level, dtype=torch.uint8)
    assert (network.prepare(batch) - 0.5).abs().max() < 0.01
    batch[0, 0, 0, 0] += 1 if level < 255 else -1
    image = batch[0].numpy() / 255
    assert_near(network.prepare(batch)[0].numpy(), 0.5 + 0.5 * (image - image.mean()) / image.std(ddof=1), 1e-3)


def test_statistics_are_buffers_of_the_state_and_not_parameters() -> None:
    network = Tiny()
    assert {"mean", "std"} <= set(network.state_dict())
    assert not {"mean", "std"} & {name for name, _ in network.named_parameters()}
    assert network.mean.dtype == network.std.dtype == torch.float32


def test_forward_is_head_of_features(lenet: LeNet) -> None:
    batch = images()
    assert_near(lenet(batch), lenet.head(lenet.features(batch.float() / 255)))


def test_embed_is_the_penultimate_vector(lenet: LeNet) -> None:
    batch = images()
    embedded = lenet.embed(batch)
    assert embedded.shape == (3, 84)
    assert_near(lenet.head[-1](embedded), lenet(batch))


def test_dense_at_the_native_size_is_forward(lenet: LeNet) -> None:
    batch = images()
    dense = lenet.dense(batch)
    assert dense.shape == (3, 10, 1, 1)
    assert_near(dense.flatten(1), lenet(batch))


def test_dense_of_a_larger_image_is_forward_of_each_window(lenet: LeNet) -> None:
    large = images(2, 40)
    dense = lenet.dense(large)
    assert dense.shape == (2, 10, 4, 4)
    for y in range(4):
        for x in range(4):
            window = large[:, :, 4 * y : 4 * y + 28, 4 * x : 4 * x + 28]
            assert_near(dense[:, :, y, x], lenet(window))
    assert not near(dense[:, :, 0, 0], dense[:, :, 0, 1], 1e-3)


def test_dense_of_a_pooling_head_at_the_native_size_is_forward() -> None:
    network, batch = Tiny().eval(), images(2, 8, 3)
    assert_near(network.dense(batch).flatten(1), network(batch))


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    torch.manual_seed(0)
    network, batch = LeNet(Row(dropout=0.5)), images()
    assert not torch.equal(network(batch), network(batch))
    network.eval()
    assert_near(network(batch), network(batch))


def test_the_first_convolution_of_lenet_matches_a_plain_loop(lenet: LeNet) -> None:
    """Check that weights are laid out as out, in, height, width."""
    batch, layer = images(1), lenet.features[0]
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    ours = layer(lenet.prepare(batch)).detach().numpy()
    x, w, b = batch.numpy()[0, 0] / 255, layer.weight.detach().numpy(), layer.bias.detach().numpy()
    places = [(0, 0, 0), (3, 10, 7), (5, 23, 23)]
    by_hand = [(x[y : y + 5, z : z + 5] * w[k, 0]).sum() + b[k] for k, y, z in places]
    assert_near([ours[0, k, y, z] for k, y, z in places], by_hand)
    assert functional.relu(torch.tensor(ours)).shape == (1, 6, 24, 24)
