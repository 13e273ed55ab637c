"""Names of images, hidden files and folders of splits; and the ids of images."""

import hashlib
import os
import unicodedata

import numpy as np
import pytest

from imclass.data.names import count_suffixes, ids_of, is_hidden, is_image, is_split_like, split_of

LITTER = [
    ".x", "._x.png", ".thumbnails", ".ipynb_checkpoints", ".Trash-1000", "__MACOSX", "Thumbs.db", "desktop.ini",
    "DESKTOP.INI", "lost+found", "System Volume Information", "$RECYCLE.BIN", "@eaDir", "#recycle",
]  # fmt: skip


@pytest.mark.parametrize("name", LITTER)
def test_hidden_names(name: str) -> None:
    assert is_hidden(name)
    assert not is_hidden(f"x{name}")


def test_image_names() -> None:
    named = ["a.jpg", "a.JPEG", "a.jpe", "a.jfif", "a.png", "a.webp", "a.gif", "a.bmp", "a.tif", "a.heic", "a.avif"]
    named += ["a.TIFF", "a.ppm", "a.pgm", "a.pbm"]
    assert all(map(is_image, named))
    assert not any(map(is_image, ("a", "a.txt", "jpg", "a.jpg.txt", ".png", "a.svg")))


@pytest.mark.parametrize(
    ("split", "names"),
    [
        (
            "train",
            ["train", "Train", "TRAINING", "training_set", "train-set", "trainset", "train_images", "Train Data"],
        ),
        ("train", ["images_train", "training_images", "trainingset", "train_data"]),
        ("validation", ["val", "valid", "validation", "Validation", "dev", "val_set", "validation-images", "valset"]),
        ("test", ["test", "Testing", "test_set", "test-set", "tests", "TestImages", "test.images", "testing data"]),
        (None, ["cat", "seg_train", "test tube", "invalid", "device", "train station", "contest", "test-multiple"]),
        (None, ["rest", "value", "testament", "test1", "train2017", "set", "images", ""]),
    ],
)
def test_folder_names_that_mean_a_split(split: str | None, names: list[str]) -> None:
    assert {name: split_of(name) for name in names} == dict.fromkeys(names, split)


def test_folder_names_that_may_mean_a_split() -> None:
    assert all(map(is_split_like, ["seg_train", "Test1", "fold3", "holdout", "my validation"]))
    assert not any(map(is_split_like, ["cat", "2019", "invoice"]))


def test_suffixes_are_counted_with_the_most_frequent_first() -> None:
    assert count_suffixes(["a/x.ppm", "b", "c.PPM", "d.txt"]) == "2 .ppm, 1 .txt, 1 without an extension"
    assert count_suffixes(f"{i}.{kind}" for kind in "abcdefg" for i in range(2)).endswith("2 .e and 2 other kinds")
    assert count_suffixes([]) == ""


class TestIds:
    def test_they_are_63_bits_of_a_hash_of_each_name(self) -> None:
        names = [f"cat/{i}.png" for i in range(200)]
        words = [int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) % 2**63 for name in names]
        assert ids_of(names).tolist() == words and ids_of(names).dtype == np.int64
        assert max(words) > 2**62 and ids_of([]).tolist() == []

    def test_a_decomposed_name_has_the_id_of_the_composed_one(self) -> None:
        nfc, nfd = (unicodedata.normalize(form, "caf\u00e9/\u00fc.png") for form in ("NFC", "NFD"))
        assert nfc != nfd and ids_of([nfc]) == ids_of([nfd])

    def test_two_spellings_of_one_name_have_two_ids(self) -> None:
        nfc, nfd = (unicodedata.normalize(form, "\u00e9.png") for form in ("NFC", "NFD"))
        assert len(set(ids_of(["a.png", nfc, nfd]))) == 3
        assert ids_of([nfd, nfc])[::-1].tolist() == ids_of([nfc, nfd]).tolist()

    def test_names_that_are_not_valid_unicode_count_by_their_bytes(self) -> None:
        one, other = (os.fsdecode(b"a/\xff%c.png" % byte) for byte in (0xFE, 0xFD))
        assert len(set(ids_of([one, other]))) == 2
        assert ids_of([one])[0] == int(hashlib.sha256(b"a/\xff\xfe.png").hexdigest()[:16], 16) % 2**63
