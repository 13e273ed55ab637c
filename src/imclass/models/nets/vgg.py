"""VGG: very deep convolutional networks for large-scale image recognition.

Karen Simonyan and Andrew Zisserman, ICLR 2015, arXiv:1409.1556: the networks A to E of Table 1, and the network of
section 4.1 as `vgg-b-shallow`. The latter has one 5x5 convolution in place of each pair of 3x3 convolutions in B, and
its top-1 error on a centre crop was 7% higher than that of B. The "-bn" rows have batch norm between each convolution
and its ReLU. They follow torchvision and are not in the paper.

Deviations, and points that the paper leaves open:
- Section 3.1 calls 10^-2 the variance of the initial weights. Here it is their standard deviation (`init_std`), because
  activations explode with a standard deviation of 0.1.
- The paper trained A first, and initialised the deeper networks with layers from A. Here all networks start from random
  weights.
- The authors' Caffe models of D and E, `VGG_ILSVRC_16_layers` and `VGG_ILSVRC_19_layers`, were trained with jittered
  scales. They expect blue first and values up to 255, less the mean colour of their training images (`caffe-vgg`).
- A-LRN normalises after the ReLU, with the constants of Krizhevsky et al. 2012, to which the paper refers.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from imclass.models.entry import ForeignNetwork, NetworkEntry, PaperResult, caffe_name, rename_layer
from imclass.models.layers.heads import fully_connected
from imclass.models.layers.initialisers import init_normal
from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A column of Table 1: the convolutions of the five stages, and the hidden layers."""

    kernels: tuple[tuple[int, ...], ...]  # the kernel size of each convolution, by stage
    response_norm: bool = False  # local response normalisation after the first stage
    batch_norm: bool = False
    size: int = 224
    widths: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)  # of each stage
    hidden: tuple[int, int] = (4096, 4096)  # units of the hidden layers
    init_std: float = 0.01  # the standard deviation of the initial weights


A = Row(((3,), (3,), (3, 3), (3, 3), (3, 3)))
B = Row(((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)))
SHALLOW = Row(((5,), (5,), (5,), (5,), (5,)))
C = Row(((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)))
D = Row(((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)))
E = Row(((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)))


class VGG(Network):
    """Five stages of convolutions, each followed by 2x2 max pooling, and three fully connected layers."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = w_in
        for stage, (kernels, w_out) in enumerate(zip(row.kernels, row.widths, strict=True), 1):
            for i, kernel in enumerate(kernels, 1):
                layers.update(convolution(f"{stage}_{i}", width, w_out, kernel, row.batch_norm))
                width = w_out
            if row.response_norm and stage == 1:
                layers["norm1"] = LocalResponseNorm()
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
        self.features = nn.Sequential(layers)
        side = map_side(self.features, row.size, w_in)
        self.head = fully_connected(width * side**2, row.hidden, classes)
        init_normal(self, row.init_std)


def convolution(name: str, w_in: int, w_out: int, kernel: int, batch_norm: bool) -> dict[str, nn.Module]:
    """Return a convolution that keeps height and width (section 2.1), BN if `batch_norm` is set, and a ReLU."""
    norm: dict[str, nn.Module] = {f"bn{name}": nn.BatchNorm2d(w_out)} if batch_norm else {}
    layer = nn.Conv2d(w_in, w_out, kernel, padding=kernel // 2)
    return {f"conv{name}": layer, **norm, f"relu{name}": nn.ReLU(inplace=True)}


def feature_names(row: Row) -> dict[str, str]:
    """Map our layer names to those of torchvision and timm, which number the layers of `features`."""
    found, position = {}, 0
    for stage, kernels in enumerate(row.kernels, 1):
        for i in range(1, len(kernels) + 1):
            found[f"features.conv{stage}_{i}"] = f"features.{position}"
            found[f"features.bn{stage}_{i}"] = f"features.{position + 1}"
            position += 3 if row.batch_norm else 2
        position += 1
    return found


def foreign_vgg(name: str, row: Row, caffe: str = "") -> dict[str, ForeignNetwork]:
    """Return the counterparts of the network in torchvision and timm, which both call it `name`, and in Caffe.

    In timm the hidden layers are convolutions. `caffe` is the name of the authors' Caffe model, if they released one.
    """
    features = feature_names(row)
    heads = {
        "torchvision": {"head.fc6": "classifier.0", "head.fc7": "classifier.3", "head.fc8": "classifier.6"},
        "timm": {"head.fc6": "pre_logits.fc1", "head.fc7": "pre_logits.fc2", "head.fc8": "head.fc"},
    }
    found = {
        library: ForeignNetwork(name, partial(rename_layer, layers=features | head)) for library, head in heads.items()
    }
    return found | ({"caffe": ForeignNetwork(caffe, caffe_name, inputs="caffe-vgg")} if caffe else {})


def entry(
    row: Row,
    parameters: int,
    top1: float | None = None,
    top5: float | None = None,
    theirs: str = "",
    caffe: str = "",
) -> NetworkEntry:
    """Return a network's entry. `theirs` is its name in torchvision and timm, and `caffe` that of its Caffe model.

    The small copy for tests needs larger initial weights. With the paper's weights, the signal would vanish in its
    narrow layers.
    """
    return NetworkEntry(
        build=VGG, row=row, parameters=parameters, paper="arXiv:1409.1556", year=2014,
        result=None if top1 is None else PaperResult(top1, top5, "dense, Q = S = 256"),
        foreign=foreign_vgg(theirs, row, caffe) if theirs else {}, small={"size": 32, "init_std": 0.1},
    )  # fmt: skip


NETS = {  # Errors are from Table 3, for training and testing at scale 256.
    "vgg-a": entry(A, 132_863_336, 29.6, 10.4, theirs="vgg11"),
    "vgg-a-lrn": entry(replace(A, response_norm=True), 132_863_336, 29.7, 10.5),
    "vgg-b": entry(B, 133_047_848, 28.7, 9.9, theirs="vgg13"),
    "vgg-b-shallow": entry(SHALLOW, 134_503_528),
    "vgg-c": entry(C, 133_638_952, 28.1, 9.4),
    "vgg-d": entry(D, 138_357_544, 27.0, 8.8, theirs="vgg16", caffe="VGG_ILSVRC_16_layers"),
    "vgg-e": entry(E, 143_667_240, 27.3, 9.0, theirs="vgg19", caffe="VGG_ILSVRC_19_layers"),
    "vgg-a-bn": entry(replace(A, batch_norm=True), 132_868_840, theirs="vgg11_bn"),
    "vgg-b-bn": entry(replace(B, batch_norm=True), 133_053_736, theirs="vgg13_bn"),
    "vgg-b-shallow-bn": entry(replace(SHALLOW, batch_norm=True), 134_506_472),
    "vgg-c-bn": entry(replace(C, batch_norm=True), 133_647_400),
    "vgg-d-bn": entry(replace(D, batch_norm=True), 138_365_992, theirs="vgg16_bn"),
    "vgg-e-bn": entry(replace(E, batch_norm=True), 143_678_248, theirs="vgg19_bn"),
}
