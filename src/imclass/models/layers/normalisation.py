"""Local response normalisation over neighbouring channels, and over neighbouring positions."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def local_response_norm(
    maps: Float[Tensor, "N C H W"], n: int, k: float, alpha: float, beta: float
) -> Float[Tensor, "N C H W"]:
    """Return maps / (k + alpha * sum of squares over n neighbouring channels) ** beta.

    Krizhevsky et al., NIPS 2012, section 3.3.
    """
    wide = maps if maps.dtype == torch.float64 else maps.float()  # bfloat16 would be too coarse for the sums
    channels = maps.shape[1]
    squares = functional.pad(wide.square(), (0, 0, 0, 0, n // 2, (n - 1) // 2))
    sums = squares[:, :channels].clone()
    for first in range(1, n):  # faster than pooling over channels
        sums.add_(squares[:, first : first + channels])
    return maps / ((k + alpha * sums) ** beta).to(maps.dtype)


class LocalResponseNorm(nn.Module):
    """Local response normalisation over channels. As in the paper, alpha multiplies the whole sum.

    Caffe and PyTorch divide alpha by n. For n = 5, their 1e-4 is therefore 2e-5 here, and the paper's 1e-4 is 5e-4 in
    those libraries.
    """

    def __init__(self, n: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75) -> None:
        super().__init__()
        self.n, self.k, self.alpha, self.beta = n, k, alpha, beta

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return local_response_norm(maps, self.n, self.k, self.alpha, self.beta)


class SpatialResponseNorm(nn.Module):
    """Local response normalisation within each channel: maps / (1 + alpha * mean of the n x n squares) ** beta.

    As in Caffe's layers with the region WITHIN_CHANNEL, the mean is over n x n positions, with zeros beyond the border.
    """

    def __init__(self, n: int = 3, alpha: float = 5e-5, beta: float = 0.75) -> None:
        super().__init__()
        self.n, self.alpha, self.beta = n, alpha, beta

    def forward(self, maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        wide = maps if maps.dtype == torch.float64 else maps.float()  # bfloat16 would be too coarse for the sums
        means = functional.avg_pool2d(wide.square(), self.n, stride=1, padding=self.n // 2)
        return maps / ((1 + self.alpha * means) ** self.beta).to(maps.dtype)
