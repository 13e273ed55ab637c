"""What networks share: a normalised input, and the verbs `forward`, `embed` and `dense`."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from imclass.core.errors import UserError
from imclass.models.layers.heads import penultimate_vector, slide_head
from imclass.models.layers.sizes import map_side, smallest_size

PixelTensor: TypeAlias = Float[Tensor, "N C H W"] | UInt8[Tensor, "N C H W"]
NORMALISATION = ("mean", "std")  # buffers that follow the config, and that no other library has


class Network(nn.Module):
    """A network supplies `features` (images to maps) and `head` (maps to scores); the rest is here.

    `size` is the native height and width in pixels. Mean and std are float32 buffers, applied before any cast. A head
    that averages over space does it by `nn.AvgPool2d(side of the native map, stride=1)`, so that `dense` can slide it.
    `sides` are auxiliary heads on the outputs of the children of `features` that bear their names. They take part in
    training only, where the loss counts each with `side_weight`, and are no part of the parameters that are told.
    """

    features: nn.Sequential
    head: nn.Sequential
    mean: Tensor
    std: Tensor
    side_weight = 0.3

    def __init__(self, size: int, w_in: int = 3) -> None:
        super().__init__()
        self.size, self.w_in = size, w_in
        self.sides = nn.ModuleDict()
        self.register_buffer("mean", torch.zeros(w_in, 1, 1))
        self.register_buffer("std", torch.ones(w_in, 1, 1))

    def normalise(self, mean: Sequence[float] | Float[Tensor, "C H W"], std: Sequence[float]) -> None:
        """Subtract `mean` and divide by `std`, one value or one a channel, of images in [0, 1].

        `mean` may be an image: then the network works at that size only.
        """
        if isinstance(mean, Tensor):
            self.mean = mean.float()
        else:
            self.mean.copy_(torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1).expand_as(self.mean))
        self.std.copy_(torch.tensor(std, dtype=torch.float32).view(-1, 1, 1).expand_as(self.std))

    def prepare(self, images: PixelTensor) -> Float[Tensor, "N C H W"]:
        """uint8 divided by 255, floats as they are; then (x - mean) / std in float32; then the weights' precision."""
        if self.mean.shape[-1] not in (1, images.shape[-1]):
            height, width = images.shape[-2:]
            raise UserError(
                f"the network subtracts a mean image of {self.size} x {self.size} pixels and takes images of that size "
                f"alone, not {height} x {width}"
            )
        scaled = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        return ((scaled - self.mean) / self.std).to(next(self.parameters()).dtype)

    def forward(self, images: PixelTensor) -> Float[Tensor, "N K"] | tuple[Float[Tensor, "N K"], ...]:
        """Scores of images at the native size; while training, followed by those of each auxiliary head."""
        self.check_size(images, exactly=True)
        maps = self.prepare(images)
        if not (self.training and self.sides):
            return self.head(self.features(maps))
        scores = []
        for name, layer in self.features.named_children():
            maps = layer(maps)
            if name in self.sides:
                scores.append(self.sides[name](maps))
        return self.head(maps), *scores

    def embed(self, images: PixelTensor) -> Float[Tensor, "N D"]:
        """The penultimate vector: what the last layer with weights sees, its mean where that is a map."""
        self.check_size(images, exactly=True)
        return penultimate_vector(self.head, self.features(self.prepare(images)))

    def dense(self, images: PixelTensor) -> Float[Tensor, "N K h w"]:
        """The class map of larger images at the final stride: the head applied at every position of the maps.

        Fully connected layers become convolutions (Sermanet et al., OverFeat, ICLR 2014, section 3.5), pooling is
        done at stride 1. At the native size it is `forward`, as 1 x 1 maps.
        """
        self.check_size(images, exactly=False)
        return slide_head(self.head, self.features(self.prepare(images)))

    def class_tensors(self) -> Mapping[str, int]:
        """Return the names of the tensors that have an entry for each class, with the axis of these entries.

        They are the weight and the bias of the last layer with weights of the head and of each auxiliary head.
        """
        heads: dict[str, nn.Module] = {"head": self.head} | {f"sides.{name}": side for name, side in self.sides.items()}
        return {name: 0 for part, head in heads.items() for name in last_tensors(part, head)}

    def check_size(self, images: PixelTensor, exactly: bool) -> None:
        """Images of a size that the network cannot take are a `UserError` that says which it can."""
        height, width = images.shape[-2:]
        if (height, width) == (self.size, self.size) or (not exactly and min(height, width) >= self.size):
            return
        if exactly:
            raise UserError(
                f"the network takes {self.size} x {self.size} pixels, not {height} x {width}; larger images go through "
                "a dense protocol"
            )
        least = smallest_size(self.features, self.size, self.w_in, map_side(self.features, self.size, self.w_in))
        if min(height, width) < least:
            raise UserError(f"an image of {height} x {width} pixels is too small: the smallest side is {least}")


def last_tensors(part: str, head: nn.Module) -> list[str]:
    """Return the names of weight and bias of the last layer with weights in the part of a network of this name."""
    weighted = [(name, layer) for name, layer in head.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [".".join(filter(None, (part, name, own))) for name, layer in weighted[-1:] for own in layer.state_dict()]
