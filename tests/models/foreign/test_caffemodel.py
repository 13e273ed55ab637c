"""Caffe models, written by the protocol buffer library with fields of `caffe.proto`, are read with all their values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from imclass.app.cli.main import main
from imclass.core.errors import UserError
from imclass.models.foreign.caffemodel import caffe_tensors
from imclass.models.foreign.readers import read_tensors

# Messages of caffe.proto: number, kind ("i" integer, "f" float, "d" double, "s" string, else a message) and whether
# the field is repeated.
PROTO: Mapping[str, Mapping[str, tuple[int, str, bool]]] = {
    "Shape": {"dim": (1, "i", True)},
    "Blob": {
        "num": (1, "i", False), "channels": (2, "i", False), "height": (3, "i", False), "width": (4, "i", False),
        "data": (5, "f", True), "diff": (6, "f", True), "shape": (7, "Shape", False), "double_data": (8, "d", True),
    },
    "V0Layer": {"name": (1, "s", False), "type": (2, "s", False), "blobs": (50, "Blob", True)},
    "V1Layer": {"layer": (1, "V0Layer", False), "bottom": (2, "s", True), "name": (4, "s", False),
                "type": (5, "i", False), "blobs": (6, "Blob", True), "blobs_lr": (7, "f", True)},
    "Layer": {"name": (1, "s", False), "type": (2, "s", False), "blobs": (7, "Blob", True)},
    "Net": {"name": (1, "s", False), "layers": (2, "V1Layer", True), "layer": (100, "Layer", True)},
}  # fmt: skip


def messages() -> dict[str, Any]:
    """Return the classes of the messages in `PROTO`."""
    file, field = (
        descriptor_pb2.FileDescriptorProto(name="caffe_test.proto", package="c"),
        descriptor_pb2.FieldDescriptorProto,
    )
    kinds = {"i": field.TYPE_INT64, "f": field.TYPE_FLOAT, "d": field.TYPE_DOUBLE, "s": field.TYPE_STRING}
    for message, fields in PROTO.items():
        described = file.message_type.add(name=message)
        for name, (number, kind, repeated) in fields.items():
            one = described.field.add(
                name=name, number=number, type=kinds.get(kind, field.TYPE_MESSAGE),
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
            )  # fmt: skip
            if kind not in kinds:
                one.type_name = f".c.{kind}"
            elif repeated and kind in "fdi" and name != "blobs_lr":
                one.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"c.{name}")) for name in PROTO}


MESSAGES = messages()
WEIGHT, BIAS = torch.arange(24.0).view(4, 3, 2, 1) / 7, torch.arange(4.0)
TINY = """
from dataclasses import dataclass
from torch import nn
from imclass.models.entry import ForeignNetwork, NetworkEntry, caffe_name
from imclass.models.network import Network
@dataclass(frozen=True)
class Row:
    size: int = 6
class Tiny(Network):
    def __init__(self, row, classes, w_in):
        super().__init__(row.size, w_in)
        self.features = nn.Sequential()
        self.features.add_module("conv1", nn.Conv2d(w_in, 4, 3))
        self.head = nn.Sequential(nn.Flatten())
        self.head.add_module("fc2", nn.Linear(64, classes))
NETS = {"tiny": NetworkEntry(build=Tiny, row=Row(), parameters=242, paper="a test", year=2014, classes=2,
                             foreign={"caffe": ForeignNetwork("Tiny", caffe_name, inputs="caffe-vgg")})}
"""


def blob(tensor: torch.Tensor, old: bool) -> Any:
    """Return a tensor as Caffe's blob. Old blobs have a shape of four dimensions, filled with ones in front."""
    values = tensor.flatten().tolist()
    if not old:
        return MESSAGES["Blob"](data=values, shape=MESSAGES["Shape"](dim=tensor.shape), diff=values)
    num, channels, height, width = [1] * (4 - tensor.dim()) + [*tensor.shape]
    return MESSAGES["Blob"](num=num, channels=channels, height=height, width=width, data=values)


def network(form: str, layers: Mapping[str, list[torch.Tensor]]) -> bytes:
    """Return a network's file with these layers' blobs, in the form of one of three versions of Caffe."""
    found = MESSAGES["Net"](name="net")
    for name, tensors in layers.items():
        blobs = [blob(tensor, form != "new") for tensor in tensors]
        if form == "new":
            found.layer.add(name=name, type="Convolution", blobs=blobs)
        elif form == "v1":
            found.layers.add(name=name, type=4, bottom=["data"], blobs=blobs, blobs_lr=[1.0, 2.0])
        else:
            found.layers.add(layer=MESSAGES["V0Layer"](name=name, type="conv", blobs=blobs), bottom=["data"])
    content: bytes = found.SerializeToString()
    return content


@pytest.mark.parametrize("form", ["new", "v1", "v0"])
def test_layers_of_each_version_are_read(form: str) -> None:
    connected = torch.randn(5, 6)
    layers = {"data": [], "conv1/7x7_s2": [WEIGHT, BIAS], "fc6": [connected, torch.randn(5)], "bn": [BIAS] * 3}
    found = caffe_tensors(memoryview(network(form, layers)))
    names = ["conv1.7x7_s2.weight", "conv1.7x7_s2.bias", "fc6.weight", "fc6.bias", "bn.weight", "bn.bias", "bn.2"]
    assert list(found) == names
    for name, wanted in (("conv1.7x7_s2.weight", WEIGHT), ("conv1.7x7_s2.bias", BIAS), ("fc6.weight", connected)):
        assert torch.equal(found[name], wanted)


def test_double_values_are_read() -> None:
    net = MESSAGES["Net"](name="net")
    values = [1 / 3, 2.0]
    net.layer.add(name="a", blobs=[MESSAGES["Blob"](double_data=values, shape=MESSAGES["Shape"](dim=[2]))])
    (tensor,) = caffe_tensors(memoryview(net.SerializeToString())).values()
    assert (tensor.dtype, tensor.tolist()) == (torch.float64, values)


def test_every_cut_is_refused_or_loses_whole_layers(tmp_path: Path) -> None:
    """Check that a file that ends too early is named as damaged, unless it ends between two layers."""
    layers = {"a": [torch.ones(3, 2), torch.ones(3)], "b": [torch.ones(2, 3), torch.ones(2)]}
    content, path = network("v1", layers), tmp_path / "a.caffemodel"
    kept = []
    for end in range(len(content)):
        path.write_bytes(content[:end])
        try:
            kept.append(list(read_tensors(path).tensors))
        except UserError as error:
            assert "a.caffemodel cannot be read as a Caffe model: it " in str(error)
    assert kept == [["a.weight", "a.bias"]]


def test_a_shape_that_does_not_fit_the_values_is_refused() -> None:
    net = MESSAGES["Net"]()
    net.layer.add(name="a", blobs=[MESSAGES["Blob"](data=[1.0], shape=MESSAGES["Shape"](dim=[1 << 40, 1 << 22]))])
    with pytest.raises(ValueError, match="it declares 1099511627776 x 4194304 values for a layer but has 1"):
        caffe_tensors(memoryview(net.SerializeToString()))


def test_a_side_beyond_any_memory_is_refused(tmp_path: Path) -> None:
    net, path = MESSAGES["Net"](), tmp_path / "a.caffemodel"
    net.layer.add(name="a", blobs=[MESSAGES["Blob"](shape=MESSAGES["Shape"](dim=[0, -1]))])  # -1 is written as 2^64 - 1
    path.write_bytes(net.SerializeToString())
    with pytest.raises(UserError, match="cannot be read as a Caffe model"):
        read_tensors(path)


def test_a_model_of_caffe_is_imported_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Use a plugin's network of two layers. In Caffe blue comes first, and the mean is that of values up to 255."""
    (tmp_path / "tiny.py").write_text(TINY)
    plugins = ["--plugins", str(tmp_path)]
    conv, fc = [torch.randn(4, 3, 3, 3), torch.randn(4)], [torch.randn(2, 64), torch.randn(2)]
    (tmp_path / "tiny.caffemodel").write_bytes(network("v1", {"data": [], "conv1": conv, "fc2": fc}))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    out = tmp_path / "ours.safetensors"
    words = ["weights", "import", str(tmp_path / "tiny.caffemodel"), "--as", "tiny", "--out", str(out)]
    assert main([*words, "--classes", str(tmp_path / "classes.txt"), *plugins]) == 0
    assert "--preprocess caffe-vgg" in capsys.readouterr().out
    state = safetensors.torch.load_file(out)
    assert torch.equal(state["features.conv1.weight"], conv[0].flip(1))
    assert torch.equal(state["head.fc2.weight"], fc[0])
    np.testing.assert_allclose(255 * state["mean"].flatten(), [123.68, 116.779, 103.939], rtol=1e-6)
