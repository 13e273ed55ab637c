"""Make the pictures of the pages again, from the digits in the package: `make pictures`.

The run is `runs/mnist-lenet`, which is trained first if it is not there. Chromium takes the pictures of pages. Where it
is not installed, those pictures stay as they are, and a line names each.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from imclass.app.cli.main import main
from imclass.data.catalog import open_split
from imclass.store.context import open_context

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
RUN = "runs/mnist-lenet"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
COLOURS = 64  # enough for lines, text and grey digits, and a third of the bytes


def run(*words: str) -> None:
    """Run one imclass command, and end with its exit code where it fails."""
    if code := main(list(words)):
        sys.exit(code)


def keep(source: Path, name: str) -> None:
    """Write a picture into docs/pictures with few colours."""
    with Image.open(source) as image:
        picture = image.convert("RGB")
    target = PICTURES / name
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target.relative_to(ROOT)}: {picture.width} x {picture.height}, {target.stat().st_size / 1000:.0f} KB")


def photograph(page: Path, name: str, width: int, height: int) -> None:
    """Open a page in Chromium and keep the upper part of it. Print a line where Chromium is missing."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"docs/pictures/{name} is left as it is: Chromium is not installed", file=sys.stderr)
        return
    shot = page.with_suffix(".png")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    size = [f"--window-size={width},{height}", f"--screenshot={shot}"]
    subprocess.run([browser, *options, *size, page.as_uri()], check=True, capture_output=True)
    keep(shot, name)


def draw_row(path: Path) -> None:
    """Write four test digits next to each other as one image."""
    test = open_split("mnist-sample", "test", open_context())
    digits = [test[int(np.flatnonzero(test.targets.numpy() == digit)[0])] for digit in (3, 7, 1, 9)]
    Image.fromarray(np.concatenate(digits, axis=1)[:, :, 0]).save(path)


def make(folder: Path) -> None:
    """Make every picture; `folder` takes the files that no page needs."""
    run("train", "mnist-lenet", "--out", RUN)
    run("evaluate", RUN, "--plot", f"{folder}/confusion.png", "--mistakes", f"{folder}/mistakes.html")
    run("data", "export", "mnist-sample", "--split", "test", "--most", "10", "--out", f"{folder}/digits")
    run("features", RUN, f"{folder}/digits/7", "--layer", "features.0", "--grid", f"{folder}/maps.png")
    run("features", RUN, "--data", "mnist-sample", "--map", f"{folder}/map.png", "--method", "tsne")
    draw_row(folder / "row.png")
    run("explain", RUN, f"{folder}/row.png", "--class", "7", "--scales", "28,36", "--out", f"{folder}/maps")
    run("train", "mnist-lenet", "--find-rate", "--out", f"{folder}/lenet")
    run("report", RUN, "--out", f"{folder}/report.html")
    PICTURES.mkdir(exist_ok=True)
    keep(Path(RUN) / "curves.png", "curves.png")
    keep(folder / "confusion.png", "confusion.png")
    keep(folder / "maps.png", "maps.png")
    keep(folder / "map.png", "map.png")
    keep(folder / "maps" / "row.png", "explain.png")
    keep(folder / "lenet-rate.png", "rate.png")
    photograph(folder / "report.html", "report.png", 900, 900)
    photograph(folder / "mistakes.html", "mistakes.png", 900, 745)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
