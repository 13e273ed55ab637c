"""What verbs answer with: a record or a text, and the exit code."""

import pytest

from imclass.app.cli.answer import Told, tell
from imclass.app.cli.arguments import Common


def test_refused_images_decide_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(None, Common()) == 0 and capsys.readouterr().out == ""
    assert tell(Told({"a": 1}, "one", False), Common()) == 0 and capsys.readouterr().out == "one\n"
    assert tell(Told({"a": 1}, "one", True), Common(json=True)) == 1
    assert capsys.readouterr().out == '{\n  "a": 1\n}\n'
