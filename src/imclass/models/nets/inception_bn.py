"""BN-Inception: batch normalization, accelerating deep network training by reducing internal covariate shift.

Sergey Ioffe and Christian Szegedy, ICML 2015, arXiv:1502.03167: the network of figure 5 (appendix). It is a GoogLeNet
with two 3x3 convolutions in place of each 5x5, batch norm after every convolution, average pooling in most blocks, and
blocks of stride 2 in place of most pooling layers. It has no local response normalisation, no dropout (section 4.2.1)
and no auxiliary heads.

- Figure 5 contradicts itself in 4c and 4d. It lists pool projections of 128 maps, with which these blocks output 608
  maps, but it states an output of 576. `inception-bn` has projections of 96 maps, so these blocks output 576, as in the
  network that Google released later (TensorFlow-Slim's `inception_v2`). `inception-bn-128` has projections of 128 maps,
  as in the Caffe models.
- The first convolution is a plain 7x7. The paper's is separable, with eight intermediate maps per colour.
- Convolutions have no biases, because batch norm would cancel them (section 3.2). The paper does not state how weights
  are initialised. Here they are drawn from N(0, 2 / fan-in).
- Section 4.2 states 13.6 million parameters, but the layers in figure 5 have fewer.
- Pooling of stride 2 within a block is padded like the parallel convolutions, so that all branches output maps of the
  same size even if the sides of the input maps are odd.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from imclass.models.entry import NetworkEntry, PaperResult
from imclass.models.layers.branches import MEAN_POOL, Conv, LayerSpec, branches, maps_out, spec_of, stack
from imclass.models.layers.initialisers import init_he_convolutions
from imclass.models.layers.sizes import map_side
from imclass.models.network import Network


@dataclass(frozen=True)
class Row:
    """A BN-Inception variant: its native size, a multiplier for all widths, and the projections of blocks 4c and 4d."""

    size: int = 224
    width: float = 1.0
    projection: int = 96  # maps of the pool projections in 4c and 4d


@dataclass(frozen=True)
class Block:
    """A row of figure 5: the widths of a block's branches, and the kind of its pooling."""

    one: int  # of the 1x1 branch; 0 in a block of stride 2, which has no such branch
    three: tuple[int, int]  # 3x3 reduce, 3x3
    double: tuple[int, int]  # double 3x3 reduce, double 3x3
    projection: int | None = None  # of the pooled maps; if None, that of the network's `Row`
    maximum: bool = False  # max pooling instead of average pooling


BLOCKS: Mapping[str, Block] = {
    "3a": Block(64, (64, 64), (64, 96), 32),
    "3b": Block(64, (64, 96), (64, 96), 64),
    "3c": Block(0, (128, 160), (64, 96), 0, maximum=True),  # stride 2, no projection of the pooled maps
    "4a": Block(224, (64, 96), (96, 128), 128),
    "4b": Block(192, (96, 128), (96, 128), 128),
    "4c": Block(160, (128, 160), (128, 160)),
    "4d": Block(96, (128, 192), (160, 192)),
    "4e": Block(0, (128, 192), (192, 256), 0, maximum=True),
    "5a": Block(352, (192, 320), (160, 224), 128),
    "5b": Block(352, (192, 320), (192, 224), 128, maximum=True),
}


class InceptionBN(Network):
    """Three convolutions with pooling, then ten Inception blocks, of which 3c and 4e have stride 2."""

    def __init__(self, row: Row, classes: int = 1000, w_in: int = 3) -> None:
        super().__init__(size=row.size, w_in=w_in)
        pool = spec_of(lambda: nn.MaxPool2d(3, 2, ceil_mode=True))
        parts: dict[str, LayerSpec] = {"conv1": Conv(64, 7, 2), "pool1": pool}
        parts |= {"conv2": Conv(64, 1), "conv3": Conv(192, 3), "pool2": pool}
        parts |= {f"inception{name}": inception_block(block, row.projection) for name, block in BLOCKS.items()}
        self.features = stack(w_in, row.width, parts)
        self.head = nn.Sequential(
            nn.AvgPool2d(map_side(self.features, row.size, w_in), stride=1), nn.Flatten(),
            nn.Linear(maps_out(self.features, w_in), classes),
        )  # fmt: skip
        init_he_convolutions(self)


def inception_block(block: Block, projection: int) -> LayerSpec:
    """Return a block of figure 5. `projection` is the width of its pool projection if `block` does not specify one.

    A block of stride 2 has no 1x1 branch, and does not project its pooled maps.
    """
    stride = 1 if block.one else 2
    pool = spec_of(lambda: nn.MaxPool2d(3, stride, padding=1)) if block.maximum else MEAN_POOL
    (reduce3, three), (reduce_double, double) = block.three, block.double
    deep: dict[str, list[LayerSpec]] = {
        "branch2": [Conv(reduce3, 1), Conv(three, 3, stride)],
        "branch3": [Conv(reduce_double, 1), Conv(double, 3), Conv(double, 3, stride)],
    }
    if stride == 2:
        return branches(**deep, branch4=[pool])
    projected = Conv(projection if block.projection is None else block.projection, 1)
    return branches(branch1=[Conv(block.one, 1)], **deep, branch4=[pool, projected])


def entry(row: Row, parameters: int, result: PaperResult | None = None) -> NetworkEntry:
    """Return a network's entry."""
    return NetworkEntry(
        build=InceptionBN, row=row, parameters=parameters, paper="arXiv:1502.03167", year=2015, result=result,
        small={"size": 64},
    )  # fmt: skip


NETS = {
    "inception-bn": entry(Row(), 11_194_984, PaperResult(25.2, 7.82, "1 crop")),
    "inception-bn-128": entry(Row(projection=128), 11_285_224),
}
