"""The arguments of the verb `explain`."""
# Tested in tests/app/verbs/test_explain.py

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from imclass.app.cli.syntax import (
    Arg,
    CommonArguments,
    DeviceOption,
    MegapixelsOption,
    ModelArgument,
    PathsArgument,
    WorkersOption,
)


@dataclass(frozen=True)
class ExplainArguments:
    """Draw where in each photo a network finds a class. The network is applied at every position of the enlarged
    photo, and the probability of the class at each position is drawn over the photo. The finer network that
    `imclass weights convolve --fine` writes draws finer maps."""

    model: ModelArgument
    paths: PathsArgument
    out: Annotated[Path | None, Arg("DIR")] = None
    """Folder of the pictures. Each photo's picture has the photo's name. The folder is created if it does not exist."""
    class_: Annotated[str | None, Arg("NAME", "each photo's most probable class")] = None
    """Class to draw. The WordNet id of a class, or its name without that id, is enough."""
    method: Annotated[str, Arg("NAME")] = "map"
    """Method of explanation. `map` shows the probability of the class at each position; plugins may add methods."""
    scales: Annotated[str | None, Arg("Q[,Q...]", "twice the network's size")] = None
    """Shorter sides in pixels. For each Q, the photo is resized so that its shorter side has that length, and one map
    is drawn. The network sees objects larger at larger Q, and the map has more positions."""
    device: DeviceOption = "auto"
    workers: WorkersOption = 0
    max_megapixels: MegapixelsOption = 50.0
    common: CommonArguments = CommonArguments()
