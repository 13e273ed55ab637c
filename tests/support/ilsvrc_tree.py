"""Small trees in the layout of ILSVRC-2012."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tests.support.small import picture

IDS = ("n01440764", "n01739381", "n02105855")
CLASSES = ("n01440764 tench", "n01739381 vine snake", "n02105855 Shetland sheepdog")
LABELS = (1, 2, 0, 0, 2)  # of the validation images, as positions in `IDS`
IN_KIT = {"n01440764": 449, "n01739381": 484, "n02105855": 171}  # numbers in the development kit's map_clsloc.txt
IN_CAFFE = {"n01440764": 0, "n01739381": 59, "n02105855": 230}  # positions in Caffe's synsets.txt


def ilsvrc_tree(root: Path, labels: Sequence[int] = LABELS, per_class: int = 4, inner: str = "") -> Path:
    """Write train and a flat val into `root / inner`, and the development kit's labels into `root`."""
    base = root / inner
    for k, wordnet_id in enumerate(IDS):
        for i in range(per_class):
            write_jpeg(base / "train" / wordnet_id / f"{wordnet_id}_{i * 7 + 3}.JPEG", 100 * k + i, k)
    for n, label in enumerate(labels, 1):
        write_jpeg(base / "val" / validation_name(n), 1000 + n, label)
    (root / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{IN_KIT[IDS[k]]}\n" for k in labels))
    return root


def validation_name(number: int) -> str:
    """Return the file name of a validation image."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def write_jpeg(path: Path, seed: int, label: int) -> None:
    """Write a JPEG that is brighter on the right if its label is odd."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, label % 2 == 1)).save(path, "JPEG")
