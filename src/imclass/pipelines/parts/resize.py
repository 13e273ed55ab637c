"""Images of another size, for the parts that follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from imclass.core.bounds import AtLeast, AtMost
from imclass.core.contracts import Image
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.pipelines.dense.grid import check_channels, resize_image
from imclass.pipelines.part import Feature, Flow


@dataclass
class ResizeImages(Feature):
    """Images resized by Pillow's antialiased bilinear filter. It comes first, before a part that describes images.

    One of three rules applies: an exact `height` and `width`, without regard to the aspect ratio; `longest`, to which
    the longer side of larger images is reduced; or `shorter`, to which the shorter side is scaled as for networks. With
    `shorter`, an image more than 16 times as long as wide is cut around its centre first.

    Sizes and positions of descriptors are then those in the resized image.
    """

    kind: ClassVar[str] = "resize"
    takes: ClassVar[tuple[Flow, ...]] = ("images",)
    gives: ClassVar[Flow] = "images"
    height: Annotated[int, AtLeast(0), AtMost(10_000)] = 0  # of each image in pixels, together with `width`; 0: not set
    width: Annotated[int, AtLeast(0), AtMost(10_000)] = 0  # of each image in pixels, together with `height`; 0: not set
    longest: Annotated[int, AtLeast(0), AtMost(10_000)] = 0  # the most pixels of the longer side; 0: not set
    shorter: Annotated[int, AtLeast(0), AtMost(10_000)] = 0  # pixels of the shorter side; 0: not set

    def check_together(self, at: str) -> None:
        """Raise `UserError` unless exactly one rule is set."""
        exact = (self.height > 0, self.width > 0)
        if exact[0] != exact[1] or any(exact) + (self.longest > 0) + (self.shorter > 0) != 1:
            found = ", ".join(f"{name} {getattr(self, name)}" for name in ("height", "width", "longest", "shorter"))
            raise UserError(
                f"the part resize has {found}; set both --{at}height and --{at}width, or only --{at}longest, or only "
                f"--{at}shorter"
            )

    def transform(self, x: Sequence[Image]) -> list[Image]:
        """Return the resized images. Raise `UserError` for images with 2 or 4 channels, and if no rule is set."""
        self.check_together("")
        return [self.of_image(image) for image in x]

    def of_image(self, image: Image) -> Image:
        """Return a resized image."""
        check_channels(image, self.kind)
        if self.longest:
            return resize_image(image, self.longest, 1)
        rule = Preprocess(size=1, scale=max(1, self.shorter))
        if self.shorter:
            return rule.apply_resize(rule.limit_aspect(image))
        return rule.resize_to(image, self.height, self.width)


PARTS = {"resize": ResizeImages}
