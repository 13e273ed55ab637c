"""Listings of any verb: an unknown name, and plugins that cannot be used."""

from pathlib import Path

import pytest

from imclass.app.cli.main import main


def test_a_mistyped_act_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "chekc"]) == 2
    assert "did you mean 'check'?" in capsys.readouterr().err


def test_a_broken_plugin_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.py").write_text("import nothing_like_it")
    for verb in ("recipes", "data"):
        assert main([verb, "--plugins", str(tmp_path)]) == 0
        printed = capsys.readouterr()
        assert "note: not usable: " in printed.err and "nothing_like_it" in printed.err
        assert printed.out
