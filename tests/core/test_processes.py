"""What torchrun sets is read with care: batch systems and shells set it, too."""

import pytest

from imclass.app.cli.main import main
from imclass.core.errors import UserError
from imclass.core.processes import check_launched, world_size


@pytest.mark.parametrize(("value", "count"), [("1", 1), ("", 1), ("3", 3)])
def test_an_empty_variable_is_one_process(value: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    assert world_size() == count
    monkeypatch.delenv("WORLD_SIZE")
    assert world_size() == 1


@pytest.mark.parametrize("value", ["two", "0", "-1", "1.5"])
@pytest.mark.parametrize("words", ["train mnist-lenet --dry-run", "evaluate lenet-5:none"])
def test_a_size_that_is_no_number_is_a_mistake(
    value: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    with pytest.raises(UserError, match="unset it"):
        world_size()
    assert main(words.split()) == 2
    assert "fault of imclass" not in capsys.readouterr().err


def test_a_size_without_torchrun_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="RANK is not set"):
        check_launched()
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    check_launched()
