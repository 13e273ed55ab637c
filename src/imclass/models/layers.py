"""What every network shares: normalisation of its input, and the three verbs `forward`, `embed` and `dense`."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

Images: TypeAlias = Float[Tensor, "N C H W"] | UInt8[Tensor, "N C H W"]


class Network(nn.Module):
    """A network supplies `features` (images to maps) and `head` (maps to scores); the rest is here.

    `size` is the native height and width in pixels. Mean and std are float32 buffers, applied before any cast.
    """

    features: Callable[[Tensor], Tensor]
    head: nn.Sequential
    mean: Tensor
    std: Tensor

    def __init__(self, size: int, w_in: int = 3) -> None:
        super().__init__()
        self.size, self.w_in = size, w_in
        self.register_buffer("mean", torch.zeros(w_in, 1, 1))
        self.register_buffer("std", torch.ones(w_in, 1, 1))

    def normalise(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Subtract `mean` and divide by `std`, one value or one a channel, of images in [0, 1]."""
        self.mean.copy_(torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1).expand_as(self.mean))
        self.std.copy_(torch.tensor(std, dtype=torch.float32).view(-1, 1, 1).expand_as(self.std))

    def prepare(self, images: Images) -> Float[Tensor, "N C H W"]:
        """uint8 divided by 255, floats as they are; then (x - mean) / std in float32; then the weights' precision."""
        scaled = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        return ((scaled - self.mean) / self.std).to(next(self.parameters()).dtype)

    def forward(self, images: Images) -> Float[Tensor, "N K"]:
        """Scores of images at the native size."""
        return self.head(self.features(self.prepare(images)))

    def embed(self, images: Images) -> Float[Tensor, "N D"]:
        """The penultimate vector: all of the head but its last layer."""
        return self.head[:-1](self.features(self.prepare(images)))

    def dense(self, images: Images) -> Float[Tensor, "N K h w"]:
        """The class map of larger images at the final stride: fully connected layers applied as convolutions.

        Sermanet et al., OverFeat, ICLR 2014, section 3.5. At the native size it is `forward`, as 1 x 1 maps.
        """
        maps = self.features(self.prepare(images))
        for layer in self.head:
            if isinstance(layer, nn.Linear):
                side = round((layer.in_features // maps.shape[1]) ** 0.5)
                maps = functional.conv2d(maps, layer.weight.view(layer.out_features, -1, side, side), layer.bias)
            elif not isinstance(layer, nn.Flatten):
                maps = layer(maps)
        return maps
