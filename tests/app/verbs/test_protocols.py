"""The verb `protocols` lists the protocols and describes one."""

from pathlib import Path

import pytest

from imclass.app.cli.main import main
from tests.support.command import json_output, text

MINE = '''
from dataclasses import dataclass
class Nothing:
    def scales_for(self, preprocess): return ()
    def check(self, classifier): pass
    def __call__(self, classifier, images): pass
@dataclass(frozen=True)
class Far(Nothing):
    """From far away.

    And more.
    """
    scales: tuple[int, ...] = (256, 384)
    name: str = "far"
@dataclass(frozen=True)
class Bare(Nothing):
    name: str = "bare"
class Free(Nothing):
    about = "Free of fields."
    name = "free"
PROTOCOLS = {"far": Far(), "bare": Bare(), "free": Free()}
'''


def test_protocols_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json_output(capsys, "protocols")}
    assert {"center", "tencrop", "dense", "overfeat"} <= set(rows)
    assert all(list(row) == ["name", "scales", "summary"] and row["summary"] for row in rows.values())
    assert len({row["summary"] for row in rows.values()}) == len(rows)
    assert (rows["center"]["scales"], rows["dense"]["scales"]) == (None, [])
    assert rows["googlenet144"]["scales"] == [256, 288, 320, 352]
    record = json_output(capsys, "protocols", "center")
    assert record["about"].startswith(record["summary"]) and "Without `scale`" in record["about"]
    assert record["fields"] == {"scale": None, "flip": False}
    assert set(json_output(capsys, "protocols", "dense")["fields"]) == {"scales", "paper", "native"}  # without `about`
    assert "about: The whole image, class maps averaged (Simonyan" in text(capsys, "protocols", "dense")


def test_protocols_of_plugins_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    words = ("--plugins", str(tmp_path))
    rows = {row["name"]: row for row in json_output(capsys, "protocols", *words)}
    assert rows["far"] == {"name": "far", "scales": [256, 384], "summary": "From far away."}
    assert rows["bare"] == {"name": "bare", "scales": None, "summary": ""}
    assert rows["free"] == {"name": "free", "scales": None, "summary": "Free of fields."}
    record = json_output(capsys, "protocols", "far", *words)
    assert (record["about"], record["fields"]) == ("From far away.\n\nAnd more.", {"scales": [256, 384]})
    lines = {line.split()[0]: line for line in text(capsys, "protocols", *words).splitlines()}
    assert " ".join(lines["far"].split()) == "far 256, 384 From far away."
    assert lines["dense"].split()[:3] == ["dense", "default", "The"] and lines["bare"].split() == ["bare", "-"]


def test_a_mistyped_name_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols", "tencorp"]) == 2
    assert "no protocol is named 'tencorp'; did you mean 'tencrop'?" in capsys.readouterr().err
