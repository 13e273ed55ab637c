"""The pictures for a report: the first image and the worst mistakes, as the network sees them."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image as Pillow

from imclass.app.runs.watchers.scores import SCORES
from imclass.core.contracts import Dataset, Evaluation, Image
from imclass.core.errors import BadImage
from imclass.core.preprocess import Preprocess
from imclass.core.targets import OneOf
from imclass.data.subset import VALIDATION
from imclass.evaluation.measures.mistakes import WrongImage, wrong_images
from imclass.evaluation.results import read_scores
from imclass.training.events import Event, LegEnd
from imclass.training.plan import Leg

PICTURES = "pictures"  # subfolder of a run
INDEX = "index.json"
MAX_MISTAKES = 24  # in a report, the most confident first
REPORT_SPLITS = ("test", VALIDATION)  # a report covers the first of these that exists
MAX_PICTURE_SIDE = 512  # pixels; maximum side of an image shown without preprocessing


class Pictures:
    """A consumer that writes a run's `pictures/` when its last leg ends."""

    def __init__(self, folder: Path, last: Leg, held_out: Mapping[str, Dataset]) -> None:
        self.folder, self.last, self.held_out = folder, last, held_out

    def see(self, event: Event) -> None:
        """Write the pictures at the end of the last leg."""
        if isinstance(event, LegEnd) and event.at.stage == self.last.number + 1:
            self.write(event.path.parent)

    def write(self, leg: Path) -> None:
        """Write the pictures of the first image and the worst mistakes, according to the scores in the folder `leg`."""
        split = next((split for split in REPORT_SPLITS if split in self.held_out), None)
        if split is not None:
            saved = read_scores(leg / SCORES / f"{split}.npz")
            write_pictures(self.folder, saved.evaluation, saved.names, self.held_out[split], self.last.preprocess)

    def close(self) -> None:
        """Do nothing, because there is no open file."""


def write_pictures(
    folder: Path, result: Evaluation, names: Sequence[str], dataset: Dataset, preprocess: Preprocess | None
) -> None:
    """Write `pictures/` into `folder`, completely or not at all. Missing and damaged images are left out."""
    wanted = [names[0], *(mistake.image for mistake in worst_mistakes(result, names))]
    places = dict(zip(names, positions(dataset, result).tolist(), strict=True))
    final, working = folder / PICTURES, folder / f".{PICTURES}.part"
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir()
    try:
        index = {}
        for number, name in enumerate(dict.fromkeys(wanted)):
            try:
                view = network_view(dataset[places[name]], preprocess)
            except BadImage:
                continue
            index[name] = f"{number:02d}.png"
            grey = view.shape[2] == 1
            Pillow.fromarray(view[:, :, 0] if grey else np.ascontiguousarray(view)).save(working / f"{number:02d}.png")
        (working / INDEX).write_text(json.dumps(index, indent=1))
        shutil.rmtree(final, ignore_errors=True)
        working.rename(final)
    except BaseException:
        shutil.rmtree(working, ignore_errors=True)
        raise


def read_pictures(folder: Path) -> dict[str, UInt8[np.ndarray, "_ _ _"]]:
    """Return a run's pictures as H W C arrays, keyed by image name, up to the first that cannot be read."""
    pictures = {}
    try:
        index = json.loads((folder / PICTURES / INDEX).read_bytes())
        for name, file in index.items():
            with Pillow.open(folder / PICTURES / Path(file).name) as opened:
                pixels = np.array(opened, np.uint8)
            pictures[str(name)] = pixels[:, :, None] if pixels.ndim == 2 else pixels
    except (OSError, ValueError, AttributeError, TypeError):  # a report without some pictures is better than no report
        pass
    return pictures


def worst_mistakes(result: Evaluation, names: Sequence[str], max_images: int = MAX_MISTAKES) -> list[WrongImage]:
    """Return the most confident mistakes, or an empty list for multi-label data."""
    return wrong_images(result, names)[:max_images] if isinstance(result.targets, OneOf) else []


def positions(dataset: Dataset, result: Evaluation) -> Int64[np.ndarray, "N"]:
    """Return the positions of the scored images in the data set."""
    order = np.argsort(dataset.ids)
    return order[np.searchsorted(dataset.ids, result.ids, sorter=order)]


def network_view(image: Image, preprocess: Preprocess | None) -> UInt8[np.ndarray, "H W C"]:
    """Return an image as the network sees it, but in RGB order. If `preprocess` is None, return a small copy."""
    if preprocess is None:
        grey = image.shape[2] == 1
        small = Pillow.fromarray(image[:, :, 0] if grey else np.ascontiguousarray(image))
        small.thumbnail((MAX_PICTURE_SIDE, MAX_PICTURE_SIDE))
        pixels = np.array(small, np.uint8)
        return pixels[:, :, None] if grey else pixels
    view = preprocess(image)
    return view[:, :, ::-1] if preprocess.channels == "bgr" else view
