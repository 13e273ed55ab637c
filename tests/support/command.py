"""What the command line prints."""

import json
from typing import Any

import pytest

from imclass.app.cli.main import main


def shown(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """The record that a verb prints."""
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def text(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The text that a verb prints."""
    assert main([*words]) == 0
    return capsys.readouterr().out
