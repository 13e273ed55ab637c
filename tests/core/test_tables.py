"""Tables are found by scanning folders; a broken file is named while others work, and a repeated name is refused."""

import sys
from pathlib import Path

import pytest

from imclass.core.errors import UserError
from imclass.core.tables import EntryTable, find, load_plugins

PACKAGE = iter(f"imclass_test_tables_{i}" for i in range(1000))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an importable package with one valid module."""
    folder = tmp_path / next(PACKAGE)
    write(folder / "__init__.py", "")
    write(folder / "good.py", "NETS = {'net-a': 1, 'net-b': 2}")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_name_that_means_another_kind_of_thing_is_explained() -> None:
    found = EntryTable("network", {"a": 1}, explain=lambda name: "weights" if ":" in name else "")
    assert found["a"] == 1
    with pytest.raises(UserError, match=r"^weights$"):
        found["a:b"]
    with pytest.raises(UserError, match="no network is named 'b'"):
        found["b"]


def test_every_module_adds_its_entries(package: Path) -> None:
    write(package / "more.py", "NETS = {'net-c': 3}")
    write(package / "without.py", "OTHER = {'x': 1}")
    found = find(package.name, "NETS", "network")
    assert found.entries == {"net-a": 1, "net-b": 2, "net-c": 3}
    assert found.failures == ()
    assert found["net-c"] == 3


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        ("def (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("NETS = 7", "TypeError"),
        ("NETS = ['net-c']", "ValueError"),
    ],
)
@pytest.mark.parametrize("where", ["package", "plugins"])
def test_a_broken_file_is_named_and_the_others_work(package: Path, where: str, text: str, error: str) -> None:
    plugins = package.parent / "plugins"
    broken = write((package if where == "package" else plugins) / "broken.py", text)
    found = find(package.name, "NETS", "network", load_plugins([plugins] if where == "plugins" else []))
    assert found.entries == {"net-a": 1, "net-b": 2}
    assert len(found.failures) == 1
    assert found.failures[0].startswith(f"{broken if where == 'plugins' else package.name + '.broken'}: {error}: ")
    with pytest.raises(UserError, match=rf"(?s)no network is named 'net-q'; did you mean .*not imported: .*{error}"):
        found["net-q"]


def test_an_interrupt_is_not_swallowed(package: Path) -> None:
    write(package / "slow.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        find(package.name, "NETS", "network")


def test_an_unknown_name_gets_a_suggestion(package: Path) -> None:
    found = find(package.name, "NETS", "network")
    with pytest.raises(UserError, match=r"^no network is named 'net-aa'; did you mean 'net-a'\?$"):
        found["net-aa"]
    with pytest.raises(UserError, match=r"^no network is named 'zzz'; there are: net-a, net-b$"):
        found["zzz"]


def test_a_repeated_name_is_refused_with_both_files(package: Path) -> None:
    other = write(package.parent / "plugins" / "mine.py", "NETS = {'net-a': 9}")
    with pytest.raises(UserError, match=r"network 'net-a' is defined twice, in .*good and in .*mine\.py; rename one"):
        find(package.name, "NETS", "network", load_plugins([other.parent]))


def test_a_missing_plugin_folder_is_named(package: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--plugins .*nowhere is not a folder"):
        load_plugins([tmp_path / "nowhere"])


def test_two_plugin_folders_may_have_files_of_the_same_name(package: Path) -> None:
    one = write(package.parent / "one" / "net.py", "NETS = {'net-1': __name__}")
    two = write(package.parent / "two" / "net.py", "NETS = {'net-2': __name__}")
    found = find(package.name, "NETS", "network", load_plugins([one.parent, two.parent]))
    assert found["net-1"] != found["net-2"]
    assert found["net-1"] in sys.modules


def test_a_plugin_may_postpone_its_annotations(package: Path) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass(frozen=True)\n"
    path = write(
        package.parent / "plugins" / "row.py", text + "class Row:\n    size: int = 28\nNETS = {'net-r': Row()}"
    )
    found = find(package.name, "NETS", "network", load_plugins([path.parent]))
    assert found.failures == ()
    assert found["net-r"].size == 28


def test_a_plugin_is_executed_once_per_process(package: Path) -> None:
    folder = package.parent / "plugins"
    marks = package.parent / "marks.txt"
    count = f"from pathlib import Path\nmarks = Path({str(marks)!r})\n"
    count += "marks.write_text(marks.read_text() + 'x' if marks.exists() else 'x')\n"
    write(folder / "net.py", count + "NETS = {'net-1': object()}")
    one, two = (find(package.name, "NETS", "network", load_plugins([folder])) for _ in range(2))
    assert one["net-1"] is two["net-1"] and marks.read_text() == "x"
    assert len(one.digests["net-1"]) == 64 and one.plugin_digests("net-1") == {"network net-1": one.digests["net-1"]}
    assert one.plugin_digests("net-a") == {}


def test_a_changed_plugin_is_executed_again(package: Path) -> None:
    folder = package.parent / "plugins"
    write(folder / "net.py", "NETS = {'net-1': 1}")
    before = find(package.name, "NETS", "network", load_plugins([folder]))
    write(folder / "net.py", "NETS = {'net-1': 2}")
    after = find(package.name, "NETS", "network", load_plugins([folder]))
    assert (before["net-1"], after["net-1"]) == (1, 2) and before.digests != after.digests
