"""Folding keeps scores, and each position of a fine map is the network's score on its window."""

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.models.analysis.geometry import measure
from imclass.models.analysis.surgery import (
    FORMS,
    Form,
    absorb,
    batch_norms,
    convolutional_network,
    fine_network,
    fold_batch_norms,
)
from imclass.models.classifier import create, networks
from imclass.models.network import Network
from tests.support.narrow import imitate_training, narrow
from tests.support.outline import outline
from tests.support.tolerance import assert_near, near


def network(name: str) -> Network:
    """Return a narrow copy in evaluation mode, with weights as after some training."""
    made = create(Model(name, narrow(networks()[name])), ["cat", "cow", "dog"]).network
    return imitate_training(made)


def images(made: Network, n: int = 2, more: int = 0) -> Tensor:
    side = made.size + more
    return torch.rand(n, made.w_in, side, side, generator=torch.Generator().manual_seed(1))


class Pair(Network):
    """A block; spatial mean; FC."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__(8, 3)
        self.features = nn.Sequential(block)
        self.head = nn.Sequential(nn.AvgPool2d(8, stride=1), nn.Flatten(), nn.Linear(3, 2))


class Unfoldable(nn.Module):
    """A convolution and a batch norm, used so that they must not be folded."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        found = self.conv(maps)
        if self.case == "the output has another use":
            return self.norm(found) + found
        if self.case == "the convolution is used twice":
            return self.conv(self.norm(found))
        if self.case == "the norm is used twice":
            return self.norm(self.norm(found))
        return self.norm(found.relu_())


CASES = [
    "the output has another use",
    "the convolution is used twice",
    "the norm is used twice",
    "a layer is in between",
]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("vgg-bn-drop", 14, 0),  # after convolutions and one linear layer, with biases
        ("resnet-cifar-20-b", 9, 0),  # projections
        ("googlenet-bn", 57, 0),  # branches
        ("vgg-d", 0, 0),
        ("densenet-cifar-bc-100-12", 9, 6),  # batch norms before convolutions stay, but one follows each 1x1
        ("wide-resnet-28-10", 7, 3),
    ],
)
def test_folding_changes_no_score(name: str, before: int, after: int) -> None:
    original = network(name)
    digest, batch = tensors_digest(original.state_dict()), images(original)
    with torch.no_grad():
        expected = original(batch)
        folded = fold_batch_norms(original)
        assert_near(folded(batch), expected)
        assert_near(folded.dense(batch).flatten(1), expected)
    assert (len(batch_norms(original)), len(batch_norms(folded))) == (before, after)
    assert tensors_digest(original.state_dict()) == digest


def test_all_14_batch_norms_of_vgg_bn_drop_are_folded() -> None:
    original = imitate_training(create("vgg-bn-drop", ["cat", "dog"]).network)
    assert len(batch_norms(original)) == 14 and batch_norms(fold_batch_norms(original)) == ()


def test_side_outputs_are_left_out_and_the_original_keeps_them() -> None:
    entry = networks()["googlenet-bn"]
    original = entry.build(type(entry.row)(**{**vars(entry.row), "width": 0.125}), 4, 3).train()
    folded = fold_batch_norms(original)
    assert len(original.sides) == 2 and len(folded.sides) == 0 and batch_norms(folded) == ()
    assert original.training and not folded.training


@pytest.mark.parametrize("bias", [True, False])
def test_folding_follows_the_formula(bias: bool) -> None:
    """W' = W gamma / sqrt(var + eps), b' = (b - mean) gamma / sqrt(var + eps) + beta, computed by numpy."""
    layer, norm = nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, eps=0.01)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.uniform_(0.5, 2)
    w, b = layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy() if layer.bias is not None else 0
    gamma, beta, mean, var = (t.detach().numpy() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var))  # type: ignore[union-attr]
    absorb(layer, norm)
    assert layer.bias is not None
    assert_near(layer.weight.detach(), w * (gamma / np.sqrt(var + 0.01))[:, None, None, None])
    assert_near(layer.bias.detach(), (b - mean) * gamma / np.sqrt(var + 0.01) + beta)


@pytest.mark.parametrize("case", CASES)
def test_a_batch_norm_that_cannot_be_folded_remains(case: str) -> None:
    original = imitate_training(Pair(Unfoldable(case)))
    folded, batch = fold_batch_norms(original), images(original)
    assert batch_norms(folded) == ("features.0.norm",)
    assert torch.equal(folded(batch), original(batch))


@pytest.mark.parametrize("case", CASES)
def test_folding_it_anyway_would_be_wrong(case: str) -> None:
    original = imitate_training(Pair(Unfoldable(case)))
    batch, before = images(original), original(images(original))
    block = original.features[0]
    assert isinstance(block, Unfoldable)
    absorb(block.conv, block.norm)
    block.set_submodule("norm", nn.Identity())
    assert not near(original(batch), before, 1e-3)


def test_statistics_of_the_batch_cannot_be_folded() -> None:
    block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3, track_running_stats=False))
    original = Pair(block).eval()
    assert batch_norms(fold_batch_norms(original)) == ("features.0.1",)


def window_scores(made: Network, pool: str, maps: Tensor, side: int, at: tuple[int, int]) -> Tensor:
    """Return the scores of the rest of a network, from its pooling on, for a window of the maps before it."""
    y, x = at
    names = [name for name, _ in made.features.named_children()]
    rest = made.features[names.index(pool) :]
    return made.head(rest(maps[:, :, y : y + side, x : x + side]))


@pytest.mark.parametrize(
    ("name", "pool", "factor"),
    [("alexnet", "pool5", 2), ("overfeat-accurate", "pool6", 3), ("vgg-a", "pool5", 2), ("lenet-5", "5", 2)],
)
def test_each_position_of_the_fine_map_is_the_network_on_its_window(name: str, pool: str, factor: int) -> None:
    """OverFeat, section 3.3: the same maps before the last pooling layer, and every offset of it."""
    original = network(name)
    with torch.no_grad():
        copy, batch = fine_network(original), images(original, 1, more=40)
        dense = copy.dense(batch)
        names = [child for child, _ in original.features.named_children()]
        last = original.features.get_submodule(pool)
        assert isinstance(last, nn.MaxPool2d) and isinstance(last.kernel_size, int)
        side = factor * (original.features(original.prepare(images(original, 1))).shape[-1] - 1) + last.kernel_size
        maps = original.features[: names.index(pool)](original.prepare(batch))
        assert dense.shape[2:] == (maps.shape[2] - side + 1, maps.shape[3] - side + 1)
        for y in range(dense.shape[2]):
            for x in range(dense.shape[3]):
                expected = window_scores(original, pool, maps, side, (y, x))
                assert_near(dense[:, :, y, x], expected)
    assert copy.dilation == factor
    assert not near(dense[:, :, 0, 0], dense[:, :, 0, 1], 1e-3)


@pytest.mark.parametrize(
    "name", ["googlenet", "resnet-50", "densenet-cifar-bc-100-12", "nin-cifar", "vgg-bn-drop", "zfnet-a"]
)
def test_the_fine_map_contains_the_coarse_one(name: str) -> None:
    """Include networks with padded and strided convolutions, branches and border windows after the pooling."""
    original = network(name)
    with torch.no_grad():
        copy, batch = fine_network(original), images(original, 1, more=64)
        coarse, dense = original.dense(batch), copy.dense(batch)
        rows, columns = coarse.shape[2:]
        held = dense[:, :, :: copy.dilation, :: copy.dilation][:, :, :rows, :columns]
        assert_near(held, coarse)
        assert dense.shape[2] >= copy.dilation * (rows - 1) + 1 > rows
        native = images(original)
        assert_near(copy(native), original(native))
        assert_near(copy.embed(native), original.embed(native))


def test_layers_after_the_pooling_are_dilated_correctly() -> None:
    """Compare the odd positions after a dense block with the network on maps that begin one row and column later."""
    original = network("densenet-cifar-bc-100-12")
    with torch.no_grad():
        copy, batch = fine_network(original), images(original, 1, more=64)
        names = [child for child, _ in original.features.named_children()]
        (last,) = [n for n, m in original.named_modules() if isinstance(m, nn.AvgPool2d) and "transition2" in n]
        child = last.split(".")[1]
        maps = original.features[: names.index(child)](original.prepare(batch))
        transition, after = original.features.get_submodule(child), original.features[names.index(child) + 1 :]
        assert isinstance(transition, nn.Sequential) and transition[-1] is original.get_submodule(last)
        pooled = transition[-1](transition[:-1](maps)[:, :, 1:, 1:])
        expected = original.head[0](after(pooled))
        found = copy.features(copy.prepare(batch))[:, :, 1::2, 1::2]
        assert_near(original.head[0](found), expected)


@pytest.mark.parametrize(
    ("name", "coarse", "finer"), [("alexnet", 32, 16), ("overfeat-fast", 32, 16), ("overfeat-accurate", 36, 12)]
)
def test_the_fine_stride_is_that_of_the_layers_before_the_pooling(name: str, coarse: int, finer: int) -> None:
    original = outline(networks()[name])
    assert (measure(original).stride, measure(fine_network(original)).stride) == (coarse, finer)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet-cifar-20", "no pooling layer of stride 2 or more"),
        ("small-resnet", "some data bypasses the last pooling"),
        ("inception-v3", "some data bypasses the last pooling"),
    ],
)
def test_a_network_without_such_a_pooling_has_no_fine_form(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fine_network(network(name))


def test_copies_normalise_each_image_by_itself_if_the_network_does() -> None:
    original = network("alexnet")
    batch, plain = images(original, 2), network("alexnet")
    original.standardise = True
    for copy in (fine_network(original), fold_batch_norms(original)):
        assert torch.equal(copy.prepare(batch), original.prepare(batch))
        assert not near(copy.prepare(batch), plain.prepare(batch), 1e-3)


def test_a_fine_network_has_no_finer_form() -> None:
    with pytest.raises(UserError, match="already"):
        fine_network(fine_network(network("alexnet")))


@pytest.mark.parametrize("pixels", [224, 256, 288, 352, 384, 416, 512])
def test_score_maps_of_vgg_have_q_over_32_minus_6_positions_a_side(pixels: int) -> None:
    """Simonyan and Zisserman 2015, section 3.2, at full size on the "meta" device."""
    with torch.no_grad():
        dense = outline(networks()["vgg-d"]).dense(torch.empty(1, 3, pixels, pixels + 64, device="meta"))
    assert dense.shape == (1, 1000, pixels // 32 - 6, (pixels + 64) // 32 - 6)


@pytest.mark.parametrize("name", ["vgg-a", "alexnet", "overfeat-fast"])
def test_a_dense_position_is_the_head_on_a_window_of_the_maps(name: str) -> None:
    """Check that a window of the image differs: at its border a padded convolution sees zeros, not neighbours."""
    made = network(name)
    with torch.no_grad():
        batch = images(made, 1, more=96)
        dense, maps = made.dense(batch), made.features(made.prepare(batch))
        side = made.features(made.prepare(images(made, 1))).shape[-1]
        for y in range(dense.shape[2]):
            for x in range(dense.shape[3]):
                expected = made.head(maps[:, :, y : y + side, x : x + side])
                assert_near(dense[:, :, y, x], expected)
        corner = made(batch[:, :, : made.size, : made.size])
    assert dense.shape[2] > 1 and not near(dense[:, :, 0, 0], corner, 1e-3)


@pytest.mark.parametrize("name", ["alexnet", "vgg-bn-drop", "googlenet"])
def test_a_fully_convolutional_network_computes_the_same(name: str) -> None:
    """Include batch norms of vectors, and a head that averages over positions."""
    original = network(name)
    copy = convolutional_network(original)
    assert not any(isinstance(layer, nn.Linear | nn.BatchNorm1d) for layer in copy.modules())
    with torch.no_grad():
        native, larger = images(original), images(original, 1, more=64)
        assert_near(copy(native), original(native))
        assert_near(copy.embed(native), original.embed(native))
        assert_near(copy.dense(larger), original.dense(larger))
    assert copy.class_tensors().keys() == original.class_tensors().keys() and len(copy.sides) == 0


@pytest.mark.parametrize(("name", "kernel"), [("alexnet", 6), ("vgg-d", 7), ("overfeat-accurate", 5)])
def test_the_first_kernel_spans_the_native_maps(name: str, kernel: int) -> None:
    """Check the kernels that Fleuret's lecture EE-559 7.2 prints for AlexNet."""
    head = convolutional_network(outline(networks()[name])).head
    found = [layer.kernel_size for layer in head if isinstance(layer, nn.Conv2d)]
    assert found == [(kernel, kernel), (1, 1), (1, 1)]


def test_each_position_of_a_converted_network_is_the_network_on_that_crop() -> None:
    """Use LeNet-5, which pads nothing, so that an inner crop sees the same as a crop that is an image."""
    original = network("lenet-5")
    copy = convolutional_network(original)
    with torch.no_grad():
        batch = images(original, 1, more=12)
        dense = copy.dense(batch)
        assert dense.shape[2:] == (4, 4)
        for y in range(4):
            for x in range(4):
                crop = batch[:, :, 4 * y : 4 * y + original.size, 4 * x : 4 * x + original.size]
                assert_near(dense[:, :, y, x], original(crop), 1e-5)


@pytest.mark.parametrize("order", [("convolutional", "fine"), ("fine", "convolutional"), ("fine", "folded")])
def test_the_order_of_forms_does_not_matter(order: tuple[Form, ...]) -> None:
    original = network("alexnet" if "folded" not in order else "vgg-bn-drop")
    copy = original
    for form in order:
        copy = FORMS[form](copy)
    with torch.no_grad():
        native, larger = images(original), images(original, 1, more=64)
        assert_near(copy.dense(larger), fine_network(original).dense(larger))
        assert_near(copy(native), original(native))


@pytest.mark.parametrize(
    ("pooling", "inputs", "message"),
    [
        (nn.AdaptiveAvgPool2d((1, 2)), 6, "layer '2' has 6 inputs, but there are 3 maps"),
        (
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            3,
            "cannot become convolutions: ",
        ),  # makes vectors itself
    ],
)
def test_a_head_that_cannot_be_converted_is_refused(pooling: nn.Module, inputs: int, message: str) -> None:
    odd = Pair(nn.Identity())
    odd.head = nn.Sequential(pooling, nn.Flatten(), nn.Linear(inputs, 2))
    assert odd(images(odd)).shape == (2, 2)
    with pytest.raises(UserError, match=message):
        convolutional_network(odd)


def test_a_network_of_convolutions_is_not_converted() -> None:
    with pytest.raises(UserError, match="already fully convolutional"):
        convolutional_network(network("nin-cifar"))
