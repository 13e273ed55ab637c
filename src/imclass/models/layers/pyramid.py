"""Spatial pyramid pooling: a vector of fixed length from maps of any size."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class SpatialPyramid(nn.Module):
    """Max pooling over the bins of a pyramid (He et al., ECCV 2014, arXiv:1406.4729, section 2.2).

    Each level n of `bins` divides the maps into n x n bins. On a side of length a, bin i begins at floor(i a / n) and
    ends before ceil((i + 1) a / n), as in the authors' code. On the paper's maps of 13 x 13, these bins are its windows
    of ceil(a / n) with a stride of floor(a / n). A vector holds the levels in the order of `bins`, and in each of them
    the bins of the first channel, then those of the second.

    `side` is that of the native maps. It is the size of the windows of `slide`, or None for one window, the whole maps.
    """

    def __init__(self, bins: Sequence[int], side: int | None) -> None:
        super().__init__()
        self.bins = tuple(bins)
        self.side = side

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Return one vector for the whole maps."""
        return torch.cat([functional.adaptive_max_pool2d(maps, n).flatten(1) for n in self.bins], dim=1)

    def slide(self, maps: Float[Tensor, "N C H W"], dilation: int = 1) -> Float[Tensor, "N D h w"]:
        """Return the vector of each window of side x side positions, which lie `dilation` apart."""
        if self.side is None:
            return self(maps[:, :, ::dilation, ::dilation])[:, :, None, None]
        height, width = (length - dilation * (self.side - 1) for length in maps.shape[2:])
        levels = []
        for n in self.bins:
            ends = [(i * self.side // n, -(-(i + 1) * self.side // n)) for i in range(n)]
            pooled = []
            for top, bottom in ends:
                for left, right in ends:
                    window = (bottom - top, right - left)
                    highest = functional.max_pool2d(maps, window, stride=1, dilation=dilation)
                    y, x = dilation * top, dilation * left
                    pooled.append(highest[:, :, y : y + height, x : x + width])
            levels.append(torch.stack(pooled, dim=2).flatten(1, 2))
        return torch.cat(levels, dim=1)
