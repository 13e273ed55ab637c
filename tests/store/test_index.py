"""An index keeps a value until a file changes, and ignores a damaged one."""

import json
from pathlib import Path

import pytest

from imclass.store import index
from imclass.store.index import Index, open_index
from imclass.store.store import Store


def things(tmp_path: Path, version: str = "1") -> Index:
    folder = tmp_path / "source"
    return open_index(Store(tmp_path / "store"), "things", [folder], [folder / "a.py"], version)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.py").write_text("1")
    return tmp_path / "source" / "a.py"


def test_a_value_is_kept(source: Path, tmp_path: Path) -> None:
    assert things(tmp_path).read() is None and not (tmp_path / "store").exists()
    things(tmp_path).write({"b": [1, "é"], "a": None})
    assert things(tmp_path).read() == {"b": [1, "é"], "a": None}
    assert list(things(tmp_path).read()) == ["b", "a"]  # in order


def test_an_index_is_out_of_date_when_a_file_or_the_version_changes(source: Path, tmp_path: Path) -> None:
    things(tmp_path).write([1])
    assert things(tmp_path, "2").read() is None
    source.write_text("22")
    assert things(tmp_path).read() is None
    things(tmp_path).write([2])
    source.unlink()
    assert things(tmp_path).read() is None
    assert len(list((tmp_path / "store" / "index").iterdir())) == 1


def test_other_folders_have_another_file(source: Path, tmp_path: Path) -> None:
    other = open_index(Store(tmp_path / "store"), "things", [tmp_path / "other"], [source], "1")
    assert other.path.parent == things(tmp_path).path.parent and other.path != things(tmp_path).path


def test_a_value_that_does_not_match_its_digest_is_ignored(source: Path, tmp_path: Path) -> None:
    things(tmp_path).write([1])
    record = json.loads(things(tmp_path).path.read_bytes())
    things(tmp_path).path.write_text(json.dumps(record | {"value": [2]}))
    assert things(tmp_path).read() is None
    things(tmp_path).path.write_text(json.dumps(record))
    assert things(tmp_path).read() == [1]


def test_a_read_only_store_is_not_an_error(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(index, "write_file", refuse)
    things(tmp_path).write([1])
    assert things(tmp_path).read() is None
