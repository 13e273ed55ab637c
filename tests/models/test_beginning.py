"""A network takes another's tensors by name, and rows of classes by class name."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.models.beginning import Beginning, begin
from imclass.models.classifier import NetworkClassifier, create, networks
from tests.support.narrow import imitate_training, narrow
from tests.support.outline import outline

SEVEN = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8")
IMAGENET = ("n02123045 tabby, tabby cat", "n02085620 Chihuahua", "n01440764 tench", "n02219486 ant", "n02206856 bee")
EQUAL = {"widths": (8, 8, 8, 8, 8)}  # so that the shape of a convolution does not reveal its place
PAIRS = {"widths": (8, 16, 16, 32, 32)}  # two pairs of equally wide stages


def create_narrow(name: str, classes: Sequence[str], seed: int = 0, **row: Any) -> NetworkClassifier:
    model = Model(name, narrow(networks()[name]) | row)
    return create(model, classes, seed=seed)


def bits(classifier: NetworkClassifier) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in classifier.network.state_dict().items()}


def googlenet(classes: Sequence[str], seed: int) -> NetworkClassifier:
    """Return a narrow GoogLeNet with both auxiliary heads, whose biases differ from class to class."""
    found = create_narrow("googlenet", classes, seed, aux=True, size=224)
    for name, tensor in found.network.state_dict().items():
        if name in found.network.class_tensors():
            tensor.add_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(seed)))
    return found


def test_rows_of_shared_classes_are_copied_and_others_stay_random() -> None:
    source, target = googlenet(IMAGENET, 1), googlenet(("n02219486", "lava lamp", "n02123045 tabby, tabby cat"), 2)
    theirs, before = bits(source), bits(target)
    found, ours = begin(target, source, "continue"), target.network.state_dict()
    axes = target.network.class_tensors()
    assert len(axes) == 6 and set(axes) == set(found.fresh)
    for name, tensor in ours.items():
        if name in axes:
            assert torch.equal(tensor[0], theirs[name][3]) and torch.equal(tensor[2], theirs[name][0])
            assert torch.equal(tensor[1], before[name][1])
        elif name not in ("mean", "std"):
            assert torch.equal(tensor, theirs[name]) and name in found.taken
    assert found.rows == ("n02219486", "n02123045 tabby, tabby cat")
    assert str(found) == (
        f"{len(ours) - 8} of {len(ours) - 2} tensors copied; drawn at random: sides.inception4a.fc2, "
        "sides.inception4d.fc2, head.3; rows of 2 of 3 classes copied: n02219486, n02123045 tabby, tabby cat"
    )


def test_no_row_is_copied_if_no_class_name_matches() -> None:
    source = create_narrow("small-resnet", [f"old {k}" for k in range(10)], 1)
    target = create_narrow("small-resnet", [f"new {k}" for k in range(10)], 2)
    before = bits(target)
    found = begin(target, source, "continue")
    for name in target.network.class_tensors():
        assert torch.equal(target.network.state_dict()[name], before[name])
        assert not torch.equal(before[name], source.network.state_dict()[name]) or name.endswith("bias")
    assert found.rows == () and str(found).endswith("rows of 0 of 10 classes copied")


def test_the_same_classes_in_another_order_are_reordered() -> None:
    source, target = (
        create_narrow("nin-cifar", ["a", "b", "\u00e9"], 1),
        create_narrow("nin-cifar", ["e\u0301", "a", "b"], 2),
    )
    found = begin(target, source, "continue")
    for name, axis in target.network.class_tensors().items():
        expected = source.network.state_dict()[name].index_select(axis, torch.tensor([2, 0, 1]))
        assert torch.equal(target.network.state_dict()[name], expected) and name in found.taken
    assert found.fresh == () and str(found).endswith("rows of 3 of 3 classes copied")


def test_statistics_of_batch_norms_are_copied_but_mean_and_std_are_not() -> None:
    source, target = create_narrow("resnet-18", ["a", "b"], 1), create_narrow("resnet-18", ["a", "b"], 2)
    imitate_training(source.network)
    target.network.normalise((0.25,), (0.125,))
    begin(target, source, "continue")
    state = target.network.state_dict()
    assert state["mean"].unique().tolist() == [0.25] and state["std"].unique().tolist() == [0.125]
    statistics = [name for name in state if name.endswith("running_var")]
    assert statistics and all(torch.equal(state[n], source.network.state_dict()[n]) for n in statistics)


def test_fresh_takes_nothing() -> None:
    source, target = create_narrow("lenet-5", ["a", "b"], 1), create_narrow("lenet-5", ["a", "b"], 2)
    before = tensors_digest(target.network.state_dict())
    found = begin(target, source, "fresh")
    assert tensors_digest(target.network.state_dict()) == before and found.taken == found.rows == ()
    assert str(found) == f"all {len(found.fresh)} tensors were drawn at random"


def test_networks_with_nothing_in_common_are_refused() -> None:
    source, target = create_narrow("resnet-18", ["a", "b"], 1), create_narrow("vgg-a", ["a", "b"], 2)
    before = tensors_digest(target.network.state_dict())
    with pytest.raises(UserError, match="no tensor of resnet-18 matches one of vgg-a in name and shape"):
        begin(target, source, "continue")
    assert tensors_digest(target.network.state_dict()) == before


def test_long_lists_are_shortened_and_safe_for_a_terminal() -> None:
    names = tuple(f"class\n{k}" for k in range(9))
    assert "class\\n5 and 3 more" in str(Beginning(("a",), names, (), 10))


def vgg(name: str, seed: int, classes: int = 3, **row: Any) -> NetworkClassifier:
    return create_narrow(name, [f"class {k}" for k in range(classes)], seed, **row)


@pytest.mark.parametrize("row", [{}, EQUAL, PAIRS], ids=["narrow", "equal", "pairs"])
@pytest.mark.parametrize("name", ["vgg-b", "vgg-c", "vgg-d", "vgg-e"])
def test_seven_layers_are_copied_from_a_and_the_rest_is_not_touched(name: str, row: dict[str, Any]) -> None:
    """Simonyan and Zisserman 2015, section 3.1."""
    shallow, deeper = vgg("vgg-a", seed=1, **row), vgg(name, seed=2, **row)
    before, given = bits(deeper), bits(shallow)
    found = begin(deeper, shallow, "first-and-last")
    layers = dict.fromkeys(tensor.rsplit(".", 1)[0] for tensor in found.taken)
    assert tuple(layer.split(".")[1] for layer in layers) == SEVEN
    for key, tensor in deeper.network.state_dict().items():
        inside = key.rsplit(".", 1)[0] in layers
        assert torch.equal(tensor, (given if inside else before)[key]), key
        if inside and key.endswith("weight"):
            assert not torch.equal(tensor, before[key])  # the seeds differ, so it was copied
    assert tensors_digest(shallow.network.state_dict()) == tensors_digest(given)


@pytest.mark.parametrize("name", ["vgg-b", "vgg-c", "vgg-d", "vgg-e"])
def test_at_full_size_124_603_752_parameters_are_copied(name: str) -> None:
    names = tuple(f"class {k}" for k in range(1000))
    deeper, shallow = (
        replace(vgg("vgg-a", 1), name=n, network=outline(networks()[n]), classes=names) for n in (name, "vgg-a")
    )
    found = begin(deeper, shallow, "first-and-last")
    assert sum(p.numel() for n, p in deeper.network.named_parameters() if n in found.taken) == 124_603_752


def test_rows_of_the_last_layer_are_copied_by_class_name() -> None:
    shallow, deeper = vgg("vgg-a", 1), create_narrow("vgg-d", ["class 2", "another"], 2)
    before = bits(deeper)
    found = begin(deeper, shallow, "first-and-last")
    for name in ("head.fc8.weight", "head.fc8.bias"):
        assert torch.equal(deeper.network.state_dict()[name][0], shallow.network.state_dict()[name][2])
        assert torch.equal(deeper.network.state_dict()[name][1], before[name][1])
    assert found.rows == ("class 2",) and len(found.taken) == 12


@pytest.mark.parametrize(
    ("shallow", "deeper", "layer"),
    [
        ({}, {"hidden": (8, 8)}, "head.fc6"),
        ({"widths": (8, 16, 24, 64, 64)}, {}, "features.conv3_1"),
    ],
)
def test_a_layer_that_does_not_fit_is_named_and_nothing_changes(
    shallow: dict[str, Any], deeper: dict[str, Any], layer: str
) -> None:
    target = vgg("vgg-b", 2, **deeper)
    digest = tensors_digest(target.network.state_dict())
    with pytest.raises(UserError, match=re.escape(f"layer '{layer}' of vgg-a")):
        begin(target, vgg("vgg-a", 1, **shallow), "first-and-last")
    assert tensors_digest(target.network.state_dict()) == digest
