"""Entries are split into names and words, and differences between test images are described."""

import pytest

from imclass.app.benchmark.entries import EntryText, ScoredImages, read_entry_text
from imclass.core.errors import UserError


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("folder", "", ("folder",)),
        ("folder --model.mean=0.5 --x 'a b'", "", ("folder", "--model.mean=0.5", "--x", "a b")),
        ("nin=folder --epochs 3", "nin", ("folder", "--epochs", "3")),
        ("a=runs/b=c", "a", ("runs/b=c",)),
        ("runs/b=c", "", ("runs/b=c",)),  # a folder's name is no name of an entry
    ],
)
def test_a_name_may_precede_the_recipe(text: str, name: str, words: tuple[str, ...]) -> None:
    assert read_entry_text(text) == EntryText(name, words)


@pytest.mark.parametrize(("text", "problem"), [("", "has no recipe"), ("a=", "has no recipe"), ("a 'b", "its quotes")])
def test_an_entry_without_words_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_entry_text(text)


IMAGES = ScoredImages("test", frozenset("abc"), 3, frozenset({"cat", "dog"}))


@pytest.mark.parametrize(
    ("other", "phrase"),
    [
        (IMAGES, ""),
        (ScoredImages("test", frozenset("ab"), 3, IMAGES.classes), ""),  # c was refused
        (ScoredImages("test", frozenset("abd"), 3, IMAGES.classes), "only in this entry: 'd'"),
        (ScoredImages("test", frozenset("ab"), 2, IMAGES.classes), "it has 2 test images, not 3"),
        (ScoredImages("validation", IMAGES.names, 3, IMAGES.classes), "the split validation, not test"),
        (ScoredImages("test", IMAGES.names, 3, frozenset({"cat"})), "its classes differ: 'dog'"),
    ],
)
def test_other_test_images_are_described(other: ScoredImages, phrase: str) -> None:
    found = IMAGES.difference(other)
    assert phrase in found and bool(found) == bool(phrase)
