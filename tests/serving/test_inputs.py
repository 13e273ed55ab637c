"""Names stand for files, folders and patterns, in the order given."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imclass.core.errors import UserError
from imclass.serving.inputs import gather_files, name_images


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
    found = [path for path in gather_files(named).paths if path != "Thumbs.db"]
    assert found == stands_for


def test_ignored_files_are_counted(many: Path) -> None:
    hidden, other = gather_files(["."]).notes
    assert hidden == ".: ignored 1 hidden files or folders: 'Thumbs.db'"
    assert other == ".: ignored 1 files without an image file extension (1 .txt): 'c.txt'"
    assert gather_files(["b"]).notes == ()
    (many / "text").mkdir()
    (many / "text" / "c.svg").touch()
    with pytest.raises(UserError, match=r"no image files in text\ntext: ignored 1 files .*1 \.svg"):
        gather_files(["text"])


def test_linked_folders_are_walked_and_loops_are_not(many: Path) -> None:
    (many / "links").mkdir()
    (many / "links" / "b").symlink_to(many / "b")
    (many / "links" / "up").symlink_to(many / "links")
    found = gather_files(["links"])
    assert found.paths == ("links/b/2.png", "links/b/a/1.JPG")
    assert found.notes == ("links: ignored 1 links to a folder that contains them: 'up'",)


def test_brackets_in_the_name_of_an_existing_folder_are_literal(many: Path) -> None:
    (many / "my[1]" / "a").mkdir(parents=True)
    (many / "my1").mkdir()
    for name in ("my[1]/a/x.png", "my[1]/a/y.png", "my1/z.png"):
        (many / name).touch()
    assert gather_files(["my[1]/a/[xz].png"]).paths == ("my[1]/a/x.png",)
    assert gather_files(["my[1]/*"]).paths == ("my[1]/a/x.png", "my[1]/a/y.png")
    assert gather_files([str(many / "my[1]/**/y.png")]).paths == (str(many / "my[1]/a/y.png"),)
    assert gather_files(["my[1]*/*.png"]).paths == ("my1/z.png",)  # no folder has this name, so it is read as a pattern


def test_a_pattern_that_names_an_existing_file_is_that_file(many: Path) -> None:
    (many / "[ab].png").touch()
    assert gather_files(["[ab].png"]).paths == ("[ab].png",)
    (many / "[ab].png").unlink()
    with pytest.raises(UserError, match="no file or folder"):
        gather_files(["[ab].png"])


@pytest.mark.parametrize("named", [["nowhere"], ["b", "*.gif"], ["b", ""], ["x" * 300], ["nul\0.png"], []])
def test_a_missing_name_is_reported(named: list[str], many: Path) -> None:
    with pytest.raises(UserError, match=r"no file or folder|specify at least one|a path is empty"):
        gather_files(named)


class TestNamed:
    def test_paths_folders_and_patterns(self, many: Path) -> None:
        pairs = [("b/2.png", Path("b/2.png")), ("b/a/1.JPG", Path("b/a/1.JPG"))]
        for images in ("b", Path("b"), ["b"], [Path("b")], iter(["b/2.png", Path("b/a/1.JPG")]), gather_files(["b"])):
            assert list(name_images(images)) == pairs
        assert list(name_images("b/*.png")) == pairs[:1]
        assert list(name_images(["lost.png"])) == [("lost.png", Path("lost.png"))]  # refused by name later
        with pytest.raises(UserError, match=r"no file or folder matches lost\.png"):
            name_images("lost.png")

    def test_a_single_image_is_named_image_0(self) -> None:
        one: tuple[Any, ...] = (b"bytes", np.zeros((4, 5, 3), np.uint8), Image.new("L", (2, 2)))
        for image in one:
            ((name, found),) = name_images(image)
            assert name == "image 0" and found is image
        assert [name for name, _ in name_images(one)] == ["image 0", "image 1", "image 2"]
        assert [image.shape for _, image in name_images(np.zeros((2, 4, 5, 3), np.uint8))] == [(4, 5, 3)] * 2

    def test_pairs_keep_their_names(self) -> None:
        pairs = [("a", b"1"), ("b", "c.png")]
        assert list(name_images(pairs)) == [("a", b"1"), ("b", Path("c.png"))]
        assert list(name_images({"a": b"1"}.items())) == [("a", b"1")]

    @pytest.mark.parametrize("images", [None, 3, {"a": b""}])
    def test_a_value_that_cannot_be_images_is_refused(self, images: Any) -> None:
        with pytest.raises(UserError, match=r"the images are .*; give a path, the bytes of an image file"):
            name_images(images)
