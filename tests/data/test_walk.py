"""A walk through folders yields every image once, and notes the paths that it skips."""

import json
from pathlib import Path

import pytest

from imclass.core.errors import UserError
from imclass.data.walk import Walk, is_run, list_folder
from tests.support.small import lock


def plant(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def plant_run(folder: Path) -> None:
    """Write the first file of a run, and a picture."""
    plant(folder, "curves.png")
    (folder / "config.json").write_text(json.dumps({"format": 2, "training": {}, "execution": {}}, indent=2))


def test_images_are_yielded_in_order_and_other_files_are_noted(tmp_path: Path) -> None:
    plant(tmp_path, "b.png", "a/2.JPG", "a/b/1.gif", "a/x.svg", "a/notes", ".git/x.png", "c/@eaDir/t.jpg", "c/y.png")
    walk = Walk(tmp_path)
    assert list(walk.images()) == ["a/2.JPG", "a/b/1.gif", "b.png", "c/y.png"]
    hidden, other = walk.notes()
    assert hidden == "ignored 2 hidden files or folders: '.git', 'c/@eaDir'"
    assert other.startswith(
        "ignored 2 files without an image file extension (1 .svg, 1 without an extension): 'a/notes', 'a/x"
    )


def test_folders_are_listed_without_files_hidden_folders_and_runs(tmp_path: Path) -> None:
    plant(tmp_path, "cat/1.png", "loose.png", ".hidden/1.png", "lost+found/1.png")
    plant_run(tmp_path / "run")
    walk = Walk(tmp_path)
    assert walk.folders("") == ["cat"]
    assert (walk.outside, walk.hidden, walk.runs) == (["loose.png"], [".hidden", "lost+found"], ["run"])


def test_links_are_followed_except_loops(tmp_path: Path) -> None:
    plant(tmp_path / "elsewhere", "1.png")
    root = plant(tmp_path / "tree", "a/0.png")
    (root / "a" / "there").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "nowhere").symlink_to(root / "gone")
    walk = Walk(root)
    assert list(walk.images()) == ["a/0.png", "a/there/1.png"]
    assert walk.loops == ["a/up"] and walk.other == ["a/nowhere"]


def test_runs_are_skipped(tmp_path: Path) -> None:
    plant(tmp_path, "cat/1.png", "runs/plot.png")
    plant_run(tmp_path / "runs" / "folder")
    walk = Walk(tmp_path)
    assert list(walk.images()) == ["cat/1.png", "runs/plot.png"]
    assert walk.runs_in("runs") == ["runs/folder"] and walk.runs_in("run") == []
    assert walk.notes() == ("ignored 1 folders of imclass runs: 'runs/folder'",)


@pytest.mark.parametrize("config", ["", "[]", '{"training": {}}', '{"format": 2}', '{"format": 2, "training": 3}'])
def test_a_folder_with_another_config_is_not_a_run(tmp_path: Path, config: str) -> None:
    assert not is_run(tmp_path)
    (tmp_path / "config.json").write_text(config)
    assert not is_run(tmp_path)
    plant_run(tmp_path)
    assert is_run(tmp_path)


def test_a_folder_that_cannot_be_read_is_listed_so_that_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, "a/1.png", "b/2.png")
    lock(monkeypatch, "b")
    walk = Walk(tmp_path)
    assert list(walk.images()) == ["a/1.png", "b"]
    assert walk.notes() == ("cannot read 1 folders: 'b'",)
    with pytest.raises(UserError, match="b cannot be read: Permission denied"):
        list_folder(tmp_path / "b")
