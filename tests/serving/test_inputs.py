"""What names stand for: files, folders and patterns, in the order given."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from imclass.core.errors import UserError
from imclass.serving.inputs import gather


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.png", "b/a/1.JPG", "a.jpeg", "c.txt", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    yield tmp_path


@pytest.mark.parametrize(
    ("named", "stands_for"),
    [
        (["."], ["a.jpeg", "b/2.png", "b/a/1.JPG"]),
        (["b", "a.jpeg"], ["b/2.png", "b/a/1.JPG", "a.jpeg"]),
        (["*"], ["a.jpeg", "b/2.png", "b/a/1.JPG", "c.txt"]),
        (["b/*.png", "b/*.png"], ["b/2.png", "b/2.png"]),
    ],
)
def test_names_stand_for_files(named: list[str], stands_for: list[str], many: Path) -> None:
    found = [path for path in gather(named).paths if path != "Thumbs.db"]
    assert found == stands_for


def test_a_pattern_that_is_a_file_is_that_file(many: Path) -> None:
    (many / "[ab].png").touch()
    assert gather(["[ab].png"]).paths == ("[ab].png",)
    (many / "[ab].png").unlink()
    with pytest.raises(UserError, match="no file or folder"):
        gather(["[ab].png"])


@pytest.mark.parametrize("named", [["nowhere"], ["b", "*.gif"], ["x" * 300], ["nul\0.png"], []])
def test_what_is_not_there_is_named(named: list[str], many: Path) -> None:
    with pytest.raises(UserError, match=r"no file or folder|name at least one"):
        gather(named)
