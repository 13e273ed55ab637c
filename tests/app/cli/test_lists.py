"""Lists are read from the index while it is fresh, and no damage to the index is an error."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imclass.app.cli import lists
from imclass.app.cli.arguments import CommonArguments
from imclass.app.cli.lists import describe_entries, terminal_width
from imclass.app.cli.main import main
from imclass.core.tables import EntryTable
from imclass.store.context import Context
from tests.support.command import json_output, text

VERBS = ("models", "recipes", "weights", "data", "protocols")
PRINT_ALL = f"""
import sys
from imclass.app.cli.main import main
for verb in {VERBS!r}:
    for words in ([verb], [verb, "--json"]):
        assert main([*words, *sys.argv[1:]]) == 0
print(sorted({{"torch", "scipy", "matplotlib"}} & set(sys.modules)), file=sys.stderr)
"""
PLUGIN = """
from imclass.data.source import DatasetEntry
DATASETS = {"mine": DatasetEntry(print, "of my own")}
"""


def child(*words: str) -> tuple[str, str]:
    """Print all lists in a child process; return its output, and the slow libraries that it imported."""
    done = subprocess.run([sys.executable, "-c", PRINT_ALL, *words], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr.strip()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[CommonArguments]:
    """Return a list that grows whenever the tables are read instead of the index."""
    seen: list[CommonArguments] = []

    def context_of(common: CommonArguments) -> Context:
        seen.append(common)
        return CONTEXT_OF(common)

    monkeypatch.setattr(lists, "context_of", context_of)
    return seen


CONTEXT_OF: Callable[[CommonArguments], Context] = lists.context_of


def index(verb: str) -> Path:
    (path,) = (Path(os.environ["IMCLASS_STORE"]) / "index").glob(f"{verb}-*.json")
    return path


def test_a_second_process_does_not_import_torch(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import torch\n" + PLUGIN)
    words = ("--plugins", str(tmp_path))
    first, imported = child(*words)
    assert "torch" in imported and "of my own" in first and "tencrop" in first and "vgg-d" in first
    assert child(*words) == (first, "[]")
    (tmp_path / "mine.py").write_text("import torch\n" + PLUGIN.replace("my own", "mine"))
    changed, imported = child(*words)
    assert "torch" in imported and "of mine" in changed and "of my own" not in changed


@pytest.mark.parametrize("verb", VERBS)
def test_the_index_yields_the_same_lists(
    verb: str, reads: list[CommonArguments], capsys: pytest.CaptureFixture[str]
) -> None:
    lines, records = text(capsys, verb), json_output(capsys, verb)
    assert len(reads) == 1 and index(verb).is_file()
    assert (text(capsys, verb), json_output(capsys, verb)) == (lines, records)
    assert len(reads) == 1 and len(lines.splitlines()) == len(records) + 1
    if verb != "models":  # its details are computed
        name = records[0]["name"]
        described = json_output(capsys, verb, name)
        index(verb).unlink()
        assert json_output(capsys, verb, name) == described and len(reads) == 2
        assert main([verb, f"{name}-x"]) == 2 and repr(name) in capsys.readouterr().err


def test_a_changed_file_renews_the_index(
    tmp_path: Path, reads: list[CommonArguments], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lists, "PACKAGE_FOLDER", tmp_path / "package")
    source = tmp_path / "package" / "sets" / "a.py"
    source.parent.mkdir(parents=True)
    source.write_text("1")
    changes: list[Callable[[], Any]] = [
        lambda: source.write_text("22"),
        lambda: os.utime(source, ns=(1, 1)),
        lambda: (source.parent / "b.py").touch(),
        lambda: source.unlink(),
        lambda: monkeypatch.setattr(lists, "installed_version", lambda name: "0.0.0"),
    ]
    text(capsys, "data")
    for n, change in enumerate(changes, 1):
        text(capsys, "data")
        assert len(reads) == n
        change()
        text(capsys, "data")
        assert len(reads) == n + 1
    assert index("data").is_file()  # one file, not one for each state


def test_plugins_have_a_separate_index(
    tmp_path: Path, reads: list[CommonArguments], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data", "--plugins", str(tmp_path))
    plugin = tmp_path / "mine.py"
    for summary in ("of my own", "of mine"):
        plugin.write_text(PLUGIN.replace("of my own", summary))
        before = len(reads)
        assert summary in text(capsys, *words) and summary in text(capsys, *words)
        assert "mine" not in text(capsys, "data")
        assert len(reads) - before == (2 if summary == "of my own" else 1)
    plugin.unlink()
    assert "mine" not in text(capsys, *words)
    assert main(["data", "--plugins", str(plugin)]) == 2
    assert f"--plugins {plugin} is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"key": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_index_is_rebuilt(
    damage: bytes, reads: list[CommonArguments], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = text(capsys, "data")
    sound = index("data").read_bytes()
    index("data").write_bytes(damage)
    assert text(capsys, "data") == lines and len(reads) == 2
    assert index("data").read_bytes() == sound


def test_an_altered_value_is_rejected(reads: list[CommonArguments], capsys: pytest.CaptureFixture[str]) -> None:
    lines = text(capsys, "data")
    index("data").write_bytes(index("data").read_bytes().replace(b"handwritten", b"handwriten"))
    assert text(capsys, "data") == lines and len(reads) == 2


@pytest.mark.parametrize("obstacle", ["a file instead of the folder", "a folder instead of the file"])
def test_a_store_that_cannot_be_written_is_not_an_error(
    obstacle: str, reads: list[CommonArguments], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = text(capsys, "data")
    path = index("data")
    path.unlink()
    if obstacle.startswith("a file"):
        path.parent.rmdir()
        path.parent.touch()
    else:
        path.mkdir()
    assert text(capsys, "data") == lines == text(capsys, "data") and len(reads) == 3


def test_a_list_with_failures_is_not_kept(
    tmp_path: Path, reads: list[CommonArguments], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text("import nothing_like_it")
    for n in (1, 2):
        assert main(["recipes", "--plugins", str(tmp_path)]) == 0
        printed = capsys.readouterr()
        assert "note: not usable: " in printed.err and "nothing_like_it" in printed.err and printed.out
        assert len(reads) == n


def test_an_entry_that_cannot_be_described_is_a_failure() -> None:
    found = EntryTable("thing", {"a": 1, "b": 0, "c": object()}, ("x.py: no",))
    listing = describe_entries(found, lambda name, entry: {"half": (1 / entry,) if isinstance(entry, int) else entry})
    assert listing.rows == [{"name": "a", "half": [1.0]}] and listing.details == {"a": {}}
    assert listing.failures[:2] == ("x.py: no", "thing b: ZeroDivisionError: division by zero")
    assert listing.failures[2].startswith("thing c: TypeError: ")


def test_lines_are_wrapped_only_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert terminal_width() is None
    unwrapped = text(capsys, "data")
    monkeypatch.setattr(lists, "terminal_width", lambda: 80)
    assert max(map(len, text(capsys, "data").splitlines())) <= 80 < max(map(len, unwrapped.splitlines()))
    monkeypatch.undo()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "70")
    assert terminal_width() == 70


def test_a_mistyped_act_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "chekc"]) == 2
    assert "did you mean 'check'?" in capsys.readouterr().err


def test_a_broken_plugin_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.py").write_text("import nothing_like_it")
    for verb in ("recipes", "data"):
        assert main([verb, "--plugins", str(tmp_path)]) == 0
        printed = capsys.readouterr()
        assert "note: not usable: " in printed.err and "nothing_like_it" in printed.err
        assert printed.out
