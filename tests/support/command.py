"""Output of the command line."""

import json
from typing import Any

import pytest

from imclass.app.cli.main import main


def json_output(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """Return the record that a verb prints with --json."""
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def text(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the text that a verb prints."""
    assert main([*words]) == 0
    return capsys.readouterr().out
