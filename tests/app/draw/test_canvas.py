"""The canvas draws any script and ignores the user's style; a failed picture leaves the old one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imclass.app.draw.confusion import confusion_png
from imclass.app.draw.grid import grid_png
from imclass.core.errors import UserError


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def matrix(k: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (k, k)) + 90 * np.eye(k, dtype=np.int64)


def test_the_users_style_does_not_matter(tmp_path: Path) -> None:
    import matplotlib

    confusion_png(matrix(3), list("abc"), tmp_path / "plain.png")
    with matplotlib.rc_context({"figure.facecolor": "black", "text.usetex": True, "font.size": 30}):
        confusion_png(matrix(3), list("abc"), tmp_path / "styled.png")
        assert matplotlib.rcParams["font.size"] == 30
    assert (pixels(tmp_path / "plain.png") == pixels(tmp_path / "styled.png")).all()


def test_a_failed_picture_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    grid_png(np.zeros((1, 2, 2)), path)
    before = path.read_bytes()
    with pytest.raises(UserError):
        grid_png(np.full((1, 2, 2), np.nan), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_matplotlib_is_imported_for_the_first_picture_and_pyplot_never(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from imclass.app.draw.curves import curves_png; early = 'matplotlib' in sys.modules; "
        f"curves_png([], pathlib.Path({str(tmp_path / 'c.png')!r})); print(early, 'matplotlib.pyplot' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


DRAW = """
import os, pathlib, sys
import numpy as np
from imclass.app.draw.confusion import confusion_png
before = os.environ["MPLBACKEND"]
confusion_png(np.eye(3, dtype=np.int64), list("abc"), pathlib.Path(sys.argv[1]))
assert os.environ["MPLBACKEND"] == before
import matplotlib
print(matplotlib.rcParams["backend"])
"""


@pytest.mark.parametrize(
    ("name", "value", "backend"),
    [
        ("MPLBACKEND", "module://matplotlib_inline.backend_inline", None),  # of a notebook; not installed here
        ("MPLBACKEND", "nonsense", None),
        ("MPLBACKEND", "svg", "svg"),  # for figures of the user's in this process
        ("MATPLOTLIBRC", "odd", None),
        ("MPLCONFIGDIR", "/dev/null/nowhere", None),
    ],
)
def test_the_users_environment_does_not_matter(name: str, value: str, backend: str | None, tmp_path: Path) -> None:
    (tmp_path / "odd").write_text("text.usetex: True\nbackend: nonsense\nfont.size: 30\nno colon\n")
    given = {**os.environ, "MPLBACKEND": "", name: str(tmp_path / value) if value == "odd" else value}
    words = [sys.executable, "-c", DRAW, str(tmp_path / "picture.png")]
    done = subprocess.run(words, env=given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert backend in (None, done.stdout.strip())
    confusion_png(np.eye(3, dtype=np.int64), list("abc"), tmp_path / "plain.png")
    assert (pixels(tmp_path / "plain.png") == pixels(tmp_path / "picture.png")).all()


def test_a_failing_import_of_matplotlib_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    given = {**os.environ, "MATPLOTLIBRC": str(tmp_path / "odd")}
    words = [sys.executable, "-c", DRAW, str(tmp_path / "picture.png")]
    done = subprocess.run(words, env=given, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("imclass.core.errors.UserError: no picture can be drawn, because ")
    assert not (tmp_path / "picture.png").exists()
