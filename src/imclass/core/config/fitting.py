"""The fit of a pipeline of parts: every setting that affects its result. The comment on a field is its help text."""
# Tested in tests/core/test_config.py

from dataclasses import dataclass
from typing import Annotated, Literal

from imclass.core.bounds import Above, AtLeast, Below, check_bounds
from imclass.core.config.kinds import AnyPart
from imclass.core.config.split import Cut, Share, Split
from imclass.core.config.training import Seed
from imclass.core.errors import require


@dataclass(frozen=True)
class Fitting:
    """All settings of the fit of a pipeline that affect its result. A recipe returns an instance."""

    recipe: str
    parts: tuple[AnyPart, ...]  # kinds in order, such as dense-sift, pca, fisher and linear-svm
    data: str  # a data set's name, a folder with one subfolder per class, a CSV file or a list (.txt)
    sample: Annotated[int, AtLeast(1)] = 500_000  # the most descriptors of training images to which parts are fitted
    split: Split = Share()
    split_seed: Seed = 0  # decides which images are held out, and nothing else; it is independent of `seed`
    validation: Annotated[float, AtLeast(0), Below(1)] = 0.0  # fraction of each class in train, held out for fusion
    classes: tuple[str, ...] = ()  # in the order of the scores: NAME, or OLD=NEW to rename or merge; empty: all
    init: str = ""  # a MODEL for the parts that use a network; empty: none
    init_digest: str = ""  # SHA-256 of that model's tensors, computed when the run begins
    seed: Seed = 0
    device: str = "auto"  # of networks: cpu, cuda, cuda:N or mps; auto: CUDA if available, else cpu
    precision: Literal["fp32", "bf16"] = "fp32"  # of networks
    max_megapixels: Annotated[float, Above(0)] = 50.0  # millions of pixels; image files with more are refused

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def cut(self) -> Cut:
        """Return the settings for splitting the data."""
        return Cut(self.split, self.split_seed, self.validation, self.classes)

    def check_together(self, at: str) -> None:
        """Raise `UserError` if there are no parts."""
        require(len(self.parts) >= 1, "parts", len(self.parts), "at least one part")
