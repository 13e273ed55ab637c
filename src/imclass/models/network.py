"""The base class of all networks. It normalises the input and provides `forward`, `embed` and `dense`."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from imclass.core.errors import UserError
from imclass.models.layers.heads import penultimate_vector, slide_head
from imclass.models.layers.sizes import map_side, smallest_size

PixelTensor: TypeAlias = Float[Tensor, "N C H W"] | UInt8[Tensor, "N C H W"]
NORMALISATION = ("mean", "std")  # buffers set from the config, which other libraries' networks lack


class Network(nn.Module):
    """The base class of networks, which consist of `features` (from images to maps) and `head` (from maps to scores).

    `size` is the native height and width in pixels. `mean` and `std` are float32 buffers, which are applied before
    images are cast to another precision. If `standardise` is true, each image is normalised by its pixels' mean and
    standard deviation instead. A head that averages over space uses `nn.AvgPool2d(side of the native map,
    stride=1)`, so that `dense` can slide the pooling over larger maps.

    `sides` contains the auxiliary heads. Each has the name of a child of `features` and, in training, runs on the
    output of that child. The losses of auxiliary heads are multiplied by `side_weight`. Their parameters are not
    counted in `NetworkEntry.parameters`.
    """

    features: nn.Sequential
    head: nn.Sequential
    mean: Tensor
    std: Tensor
    side_weight = 0.3
    standardise = False

    def __init__(self, size: int, w_in: int = 3) -> None:
        super().__init__()
        self.size, self.w_in = size, w_in
        self.sides = nn.ModuleDict()
        self.register_buffer("mean", torch.zeros(w_in, 1, 1))
        self.register_buffer("std", torch.ones(w_in, 1, 1))

    def normalise(
        self, mean: Sequence[float] | Float[Tensor, "C H W"], std: Sequence[float], standardise: bool = False
    ) -> None:
        """Set the mean to subtract and the standard deviation to divide by, for images scaled to [0, 1].

        Each may be a single value or have one value per channel. If `mean` is an image, the network accepts only images
        of the same size. If `standardise` is true, the mean and standard deviation of each image replace both.
        """
        self.standardise = standardise
        if isinstance(mean, Tensor):
            self.mean = mean.float()
        else:
            self.mean.copy_(torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1).expand_as(self.mean))
        self.std.copy_(torch.tensor(std, dtype=torch.float32).view(-1, 1, 1).expand_as(self.std))

    def prepare(self, images: PixelTensor) -> Float[Tensor, "N C H W"]:
        """Divide uint8 images by 255, normalise all images in float32, and cast them to the precision of the weights.

        Casting comes last, so that dividing by `std` does not amplify the rounding errors of the cast.
        """
        dtype = next(self.parameters()).dtype
        scaled = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        if self.standardise:
            return standardise_images(scaled).to(dtype)
        if self.mean.shape[-1] not in (1, images.shape[-1]):
            height, width = images.shape[-2:]
            raise UserError(
                f"the network subtracts a mean image of {self.size} x {self.size} pixels, so it accepts only images of "
                f"that size, not {height} x {width}. Use a protocol that scores images at the native size, such as "
                "center"
            )
        return ((scaled - self.mean) / self.std).to(dtype)

    def forward(self, images: PixelTensor) -> Float[Tensor, "N K"] | tuple[Float[Tensor, "N K"], ...]:
        """Return the scores of images of the native size and, in training, the scores of each auxiliary head."""
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
        """Return the penultimate vectors.

        These are the inputs of the last layer with weights, averaged over space if they are maps.
        """
        self.check_size(images, exactly=True)
        return penultimate_vector(self.head, self.features(self.prepare(images)))

    def dense(self, images: PixelTensor) -> Float[Tensor, "N K h w"]:
        """Return the class maps of larger images at the final stride. The head is applied at every position.

        Fully connected layers act as convolutions (Sermanet et al., OverFeat, ICLR 2014, section 3.5), and the head's
        pooling has stride 1. For images of the native size, each map has one position, with the scores that `forward`
        returns.
        """
        self.check_size(images, exactly=False)
        return slide_head(self.head, self.features(self.prepare(images)))

    def class_tensors(self) -> Mapping[str, int]:
        """Return the class axis of each tensor with one entry per class, keyed by the tensor's name.

        These are the weight and bias of the last convolution or linear layer in the head and in each auxiliary head.
        """
        heads: dict[str, nn.Module] = {"head": self.head} | {f"sides.{name}": side for name, side in self.sides.items()}
        return {name: 0 for part, head in heads.items() for name in last_tensors(part, head)}

    def check_size(self, images: PixelTensor, exactly: bool) -> None:
        """Raise a `UserError` if the network cannot process images of this size.

        The message states which sizes work.
        """
        height, width = images.shape[-2:]
        if (height, width) == (self.size, self.size) or (not exactly and min(height, width) >= self.size):
            return
        if exactly:
            raise UserError(
                f"the network expects {self.size} x {self.size} pixels, not {height} x {width}. Resize the images, or "
                "score larger ones with a dense protocol"
            )
        min_side = smallest_size(self.features, self.size, self.w_in, map_side(self.features, self.size, self.w_in))
        if min(height, width) < min_side:
            raise UserError(
                f"an image of {height} x {width} pixels is too small; each side must be at least {min_side}"
            )


def standardise_images(images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Return 0.5 + 0.5 (x - mean) / std for each value x, with the mean and std of all values of its image.

    This is how Fleuret's lecture EE-559 7.2 prepares a photo for AlexNet. As in PyTorch, the variance is the sum of
    squares divided by n - 1. If all values of an image are equal, they become 0.5.
    """
    centred = images - images.mean((1, 2, 3), keepdim=True)
    n = math.prod(images.shape[1:])
    std = (centred.square().sum((1, 2, 3), keepdim=True) / max(n - 1, 1)).sqrt()
    # The lower limit is the std of an image in which one value differs from the others by 1/255. If all values are
    # equal, the std consists only of rounding errors, and dividing by it would magnify them.
    return 0.5 + 0.5 * centred / std.clamp_min(1 / (255 * math.sqrt(n)))


def last_tensors(part: str, head: nn.Module) -> list[str]:
    """Return the names of the tensors in a head's last convolution or linear layer. `part` is the head's name."""
    weighted = [(name, layer) for name, layer in head.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [".".join(filter(None, (part, name, leaf))) for name, layer in weighted[-1:] for leaf in layer.state_dict()]
