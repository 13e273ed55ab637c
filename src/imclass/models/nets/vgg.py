"""VGG: very deep convolutional networks for large-scale image recognition.

Karen Simonyan and Andrew Zisserman, ICLR 2015, arXiv:1409.1556: Table 1 (A to E), and as `vgg-b-shallow` the net of
section 4.1, each pair of 3x3 convolutions of B one of 5x5, whose top-1 error on a centre crop was 7 % above B's. The
"-bn" rows, with batch norm after every convolution and before its ReLU, are later custom (torchvision's) and not in the
paper.

What the paper leaves open:
- Section 3.1 calls 10^-2 the variance of the initial weights: it is taken for their standard deviation (`init_std`),
  since at 0.1 activations explode. The paper trained A first and began the deeper nets with its layers.
- A-LRN normalises after the ReLU, as its reference Krizhevsky et al. 2012 does, with the constants of that paper.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from imclass.models.entry import Entry, Foreign, Published
from imclass.models.layers.heads import fully_connected
from imclass.models.layers.initialisers import normal
from imclass.models.layers.normalisation import LocalResponseNorm
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A column of Table 1: kernel sizes of each stage's convolutions, their widths, and those of the hidden layers."""

    kernels: tuple[tuple[int, ...], ...]
    response_norm: bool = False
    batch_norm: bool = False
    size: int = 224
    widths: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    hidden: tuple[int, int] = (4096, 4096)
    init_std: float = 0.01


A = Row(((3,), (3,), (3, 3), (3, 3), (3, 3)))
ROWS = {  # with the parameters that Table 2 has in millions
    "vgg-a": (A, 132_863_336),
    "vgg-a-lrn": (replace(A, response_norm=True), 132_863_336),
    "vgg-b": (Row(((3, 3), (3, 3), (3, 3), (3, 3), (3, 3))), 133_047_848),
    "vgg-b-shallow": (Row(((5,), (5,), (5,), (5,), (5,))), 134_503_528),
    "vgg-c": (Row(((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1))), 133_638_952),
    "vgg-d": (Row(((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))), 138_357_544),
    "vgg-e": (Row(((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3))), 143_667_240),
}
ERRORS = {  # Table 3, trained and tested at one scale of 256: top-1, top-5
    "vgg-a": (29.6, 10.4), "vgg-a-lrn": (29.7, 10.5), "vgg-b": (28.7, 9.9),
    "vgg-c": (28.1, 9.4), "vgg-d": (27.0, 8.8), "vgg-e": (27.3, 9.0),
}  # fmt: skip
LAYERS = {"vgg-a": "vgg11", "vgg-b": "vgg13", "vgg-d": "vgg16", "vgg-e": "vgg19"}  # torchvision's and timm's names


class VGG(Network):
    """[[k x k, (BN), ReLU] x n, (LRN), 2x2 pool] x 5; [FC, ReLU, dropout] x 2; FC."""

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
        normal(self, row.init_std)


def convolution(name: str, w_in: int, w_out: int, kernel: int, batch_norm: bool) -> dict[str, nn.Module]:
    """k x k, (BN), ReLU; padded so that height and width stay (section 2.1)."""
    norm: dict[str, nn.Module] = {f"bn{name}": nn.BatchNorm2d(w_out)} if batch_norm else {}
    layer = nn.Conv2d(w_in, w_out, kernel, padding=kernel // 2)
    return {f"conv{name}": layer, **norm, f"relu{name}": nn.ReLU(inplace=True)}


def renamed(name: str, layers: Mapping[str, str]) -> str:
    """What the tensor `name` is called where the layers have other names."""
    layer, leaf = name.rsplit(".", 1)
    return f"{layers[layer]}.{leaf}"


def positions(row: Row) -> dict[str, str]:
    """The features of torchvision and timm by our names: theirs bear the numbers of their positions."""
    found, position = {}, 0
    for stage, kernels in enumerate(row.kernels, 1):
        for i in range(1, len(kernels) + 1):
            found[f"features.conv{stage}_{i}"] = f"features.{position}"
            found[f"features.bn{stage}_{i}"] = f"features.{position + 1}"
            position += 3 if row.batch_norm else 2
        position += 1
    return found


def foreign(name: str, row: Row) -> dict[str, Foreign]:
    """torchvision's and timm's network of this row where they have it; timm keeps the hidden layers as convolutions."""
    if name not in LAYERS:
        return {}
    theirs, features = LAYERS[name] + "_bn" * row.batch_norm, positions(row)
    heads = {
        "torchvision": {"head.fc6": "classifier.0", "head.fc7": "classifier.3", "head.fc8": "classifier.6"},
        "timm": {"head.fc6": "pre_logits.fc1", "head.fc7": "pre_logits.fc2", "head.fc8": "head.fc"},
    }
    return {library: Foreign(theirs, partial(renamed, layers=features | head)) for library, head in heads.items()}


def entry(name: str, row: Row, parameters: int) -> Entry:
    """The network as in the paper."""
    published = Published(*ERRORS[name], "dense, Q = S = 256") if name in ERRORS else None
    return Entry(VGG, row, 224, parameters, "arXiv:1409.1556", 2014, published=published, foreign=foreign(name, row))


def with_batch_norm(name: str, row: Row, parameters: int) -> Entry:
    """The same with batch norm, a scale and a shift a map; the paper reports nothing of it."""
    added = 2 * sum(w_out * len(kernels) for w_out, kernels in zip(row.widths, row.kernels, strict=True))
    row = replace(row, batch_norm=True)
    return replace(entry(name, row, parameters + added), published=None)


NETS = {name: entry(name, row, parameters) for name, (row, parameters) in ROWS.items()} | {
    f"{name}-bn": with_batch_norm(name, row, parameters)
    for name, (row, parameters) in ROWS.items()
    if not row.response_norm
}
