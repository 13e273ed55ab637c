"""`protocols`: all of them, and one in detail."""

from pathlib import Path

import pytest

from imclass.app.cli.main import main
from tests.support.command import shown, text

MINE = '''
"""Views from afar."""
from dataclasses import dataclass
@dataclass(frozen=True)
class Far:
    """From far away.

    And more.
    """
    scales: tuple[int, ...] = (256, 384)
@dataclass(frozen=True)
class Bare:
    scale: int = 3
class Free:
    pass
PROTOCOLS = {"far": Far(), "bare": Bare(), "free": Free()}
'''


def test_protocols_and_one_in_detail(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in shown(capsys, "protocols")}
    assert {"center", "tencrop", "dense", "overfeat"} <= set(rows)
    assert all(list(row) == ["name", "fields", "summary"] and row["summary"] for row in rows.values())
    assert rows["center"]["fields"]["scale"] is None and rows["dense"]["fields"]["scales"] == []
    record = shown(capsys, "protocols", "dense")
    assert record["about"].startswith(record["summary"]) and "Simonyan and Zisserman" in record["family"]
    assert text(capsys, "protocols", "dense").startswith("name: dense\n")


def test_those_of_plugins_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    rows = {row["name"]: row for row in shown(capsys, "protocols", "--plugins", str(tmp_path))}
    assert rows["far"] == {"name": "far", "fields": {"scales": [256, 384]}, "summary": "From far away."}
    assert rows["bare"] == {"name": "bare", "fields": {"scale": 3}, "summary": ""}
    assert rows["free"] == {"name": "free", "fields": {}, "summary": ""}
    record = shown(capsys, "protocols", "far", "--plugins", str(tmp_path))
    assert (record["about"], record["family"]) == ("From far away.\n\nAnd more.", "Views from afar.")
    lines = {line.split()[0]: line for line in text(capsys, "protocols", "--plugins", str(tmp_path)).splitlines()}
    assert " ".join(lines["far"].split()) == "far scales=256 x 384 From far away."
    assert lines["dense"].split()[:3] == ["dense", "scales", "The"] and lines["free"].split() == ["free", "-"]


def test_a_mistyped_name_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols", "tencorp"]) == 2
    assert "no protocol is named 'tencorp'; did you mean 'tencrop'?" in capsys.readouterr().err
