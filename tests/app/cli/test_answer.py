"""Answers: a record or a text, notes, an exit code, and work that waits until they are printed."""

import io
import sys

import pytest

from imclass.app.cli.answer import Answer, print_answer


def test_an_answer_is_a_record_or_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer({"a": 1}, "one", 1, ("look\nhere",))
    assert print_answer(answer, as_json=False) == 1
    assert capsys.readouterr() == ("one\n", "look\\nhere\n")
    assert print_answer(answer, as_json=True) == 1
    assert capsys.readouterr() == ('{\n  "a": 1\n}\n', "look\\nhere\n")


@pytest.mark.parametrize("as_json", [True, False])
def test_an_empty_answer_prints_nothing(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_answer(Answer(), as_json) == 0
    assert capsys.readouterr() == ("", "")


class Gone(io.StringIO):
    """Standard output whose reader has gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_the_last_work_is_done_after_printing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []
    print_answer(Answer(text="one", last=lambda: printed.append(capsys.readouterr().out)), as_json=False)
    assert printed == ["one\n"]
    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(BrokenPipeError):
        print_answer(Answer(text="one", last=lambda: printed.append("two")), as_json=False)
    assert printed == ["one\n", "two"]  # even if nobody reads the answer
