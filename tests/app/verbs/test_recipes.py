"""The verb `recipes` lists the recipes and describes one."""

from pathlib import Path

import pytest

from imclass.app.cli.main import main
from tests.support.command import json_output, text


def test_recipes_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = [row for row in json_output(capsys, "recipes") if row["name"] == "mnist-lenet"]
    assert (row["network"], row["data"]) == ("lenet-5", "mnist-sample") and row["summary"]
    record = json_output(capsys, "recipes", "mnist-lenet")
    assert record["epochs"] == record["config"]["stages"][0]["epochs"] == row["epochs"]
    assert record["about"].startswith(row["summary"])
    assert "config.data: mnist-sample" in text(capsys, "recipes", "mnist-lenet").splitlines()


def test_a_recipe_that_cannot_be_made_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.py").write_text("RECIPES = {'odd': lambda: 1 / 0}")
    assert main(["recipes", "--plugins", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "note: not usable: recipe odd: ZeroDivisionError" in printed.err
    assert "mnist-lenet" in printed.out and "odd" not in printed.out
