"""ResNeXt: parameters by hand, the template of Table 1, and the equality of the three forms of figure 3."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from imclass.models.layers.residual import Bottleneck
from imclass.models.nets.resnext import NETS, Aggregation, ResNeXt, Row, split_groups
from tests.support.outline import count, outline, shapes
from tests.support.tolerance import assert_near, near

NARROW = Row((1, 2), ((12, 16), (24, 20)), groups=3, stem=6, stem_kernel=3, size=9)
MILLIONS = {
    "resnext-50-32x4d": 25.03, "resnext-101-32x4d": 44.18, "resnext-101-64x4d": 83.46, "resnext-101-32x8d": 88.79,
    "resnext-29-8x64d": 34.43, "resnext-29-16x64d": 68.16,
}  # fmt: skip
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 29: (3, 3, 3)}


def by_hand(depth: int, cardinality: int, path: int) -> int:
    """Count the template of sections 3.1 and 5.2: paths double with each stage, and outputs are 256, 512 ..."""
    kernel, classes = (3, 10) if depth == 29 else (7, 1000)
    total, w_in = kernel * kernel * 3 * 64 + 2 * 64, 64
    for stage, blocks in enumerate(DEPTHS[depth]):
        d, w_out = path << stage, 256 << stage
        for i in range(blocks):
            total += cardinality * (w_in * d + 9 * d * d + d * w_out + 4 * d) + 2 * w_out  # section 3.4
            total += w_in * w_out + 2 * w_out if i == 0 else 0
            w_in = w_out
    return total + w_in * classes + classes


@pytest.mark.parametrize("name", sorted(MILLIONS))
def test_parameters_are_those_of_the_template_by_hand(name: str) -> None:
    depth, paths = name.split("-")[1:]
    cardinality, path = paths.removesuffix("d").split("x")
    known = by_hand(int(depth), int(cardinality), int(path))
    assert count(outline(NETS[name])) == known == NETS[name].parameters
    assert round(known / 1e6, 2) == MILLIONS[name]


def test_the_table_is_complete() -> None:
    assert set(NETS) == set(MILLIONS)
    assert (
        abs(NETS["resnext-50-32x4d"].parameters - 25_557_032) < 0.03 * 25_557_032
    )  # near ResNet-50, which has the same cost


def test_maps_are_those_of_table_1() -> None:
    found = shapes(outline(NETS["resnext-50-32x4d"]))
    assert [found[f"conv{stage}_x"] for stage in (2, 3, 4, 5)] == [(256, 56), (512, 28), (1024, 14), (2048, 7)]
    found = shapes(outline(NETS["resnext-29-8x64d"]))
    assert [found[f"conv{stage}_x"] for stage in (2, 3, 4)] == [(256, 32), (512, 16), (1024, 8)]


@pytest.mark.parametrize(("name", "groups"), [("resnext-50-32x4d", 32), ("resnext-101-64x4d", 64)])
def test_every_3x3_is_grouped_and_strides(name: str, groups: int) -> None:
    blocks = [m for m in outline(NETS[name]).modules() if isinstance(m, Bottleneck)]
    found = [(m.groups, m.stride[0]) for b in blocks for m in b.residual if isinstance(m, nn.Conv2d)]
    assert [g for g, _ in found] == [1, groups, 1] * len(blocks)
    assert [s for _, s in found[1::3]].count(2) == 3
    assert {s for _, s in found[::3] + found[2::3]} == {1}


def networks(form: str) -> tuple[ResNeXt, ResNeXt]:
    """Return a network in form (c), with statistics as after training, and the same network in another form."""
    torch.manual_seed(0)
    grouped = ResNeXt(NARROW, classes=4)
    with torch.no_grad():
        for layer in grouped.modules():
            if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.1)
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
    other = ResNeXt(replace(NARROW, form=form), classes=4)  # type: ignore[arg-type]
    other.load_state_dict(split_groups(grouped.state_dict(), NARROW.groups, form))  # type: ignore[arg-type]
    return grouped, other


@pytest.mark.parametrize("form", ["a", "b"])
def test_the_forms_compute_the_same_scores(form: str) -> None:
    grouped, other = networks(form)
    images = torch.rand(3, 3, 9, 9)
    assert_near(other.eval()(images), grouped.eval()(images))
    assert_near(other.train()(images), grouped.train()(images))
    assert count(other) == count(grouped)
    assert sum(isinstance(m, Aggregation) for m in other.modules()) == 3


@pytest.mark.parametrize("form", ["a", "b"])
def test_paths_in_another_order_compute_other_scores(form: str) -> None:
    """Only the second convolutions of two paths are swapped, so the layers after them no longer fit."""
    grouped, other = networks(form)
    state = other.state_dict()
    first, second = (f"features.conv3_x.1.residual.0.{g}.3.weight" for g in (0, 1))
    state[first], state[second] = state[second].clone(), state[first].clone()
    other.load_state_dict(state)
    images = torch.rand(3, 3, 9, 9)
    assert not near(other.eval()(images), grouped.eval()(images), 1e-3)


@pytest.mark.parametrize("form", ["a", "b"])
def test_the_forms_have_the_same_gradients(form: str) -> None:
    """The gradient of form (c), split into groups, is that of the other form."""
    grouped, other = networks(form)
    images = torch.rand(3, 3, 9, 9)
    for network in (grouped.eval(), other.eval()):
        network(images).square().sum().backward()

    def gradients(network: ResNeXt) -> dict[str, Tensor]:
        return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}

    expected, found = split_groups(gradients(grouped), NARROW.groups, form), gradients(other)  # type: ignore[arg-type]
    assert set(found) == set(expected) == {name for name, _ in other.named_parameters()}
    for name, gradient in expected.items():
        assert_near(found[name], gradient)


def test_a_cardinality_that_does_not_divide_the_widths_is_refused() -> None:
    for groups in (0, 5):
        with pytest.raises(ValueError, match=f"{groups} groups must divide the first of each stage"):
            ResNeXt(replace(NARROW, groups=groups))


def test_other_libraries_have_these_networks() -> None:
    assert {name: sorted(entry.foreign) for name, entry in NETS.items()} == {
        "resnext-50-32x4d": ["timm", "torchvision"], "resnext-101-32x4d": ["timm"],
        "resnext-101-64x4d": ["timm", "torchvision"], "resnext-101-32x8d": ["timm", "torchvision"],
        "resnext-29-8x64d": [], "resnext-29-16x64d": [],
    }  # fmt: skip
    assert NETS["resnext-101-32x4d"].foreign["timm"].name == "resnext101_32x4d"
