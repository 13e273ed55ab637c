"""Classes are joined by name; missing, extra, repeated and nearly equal names are listed."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imclass.core.classes import (
    check_classes,
    check_distinct,
    choose_classes,
    find_class,
    imagenet_classes,
    imagenet_numbers,
    join_classes,
)
from imclass.core.errors import UserError


@given(st.permutations(list("abcdefgh")), st.permutations(list("abcdefgh")))
def test_join_returns_the_positions_by_name(data: list[str], model: list[str]) -> None:
    assert join_classes(data, model).tolist() == [model.index(name) for name in data]


def test_a_join_by_position_would_be_wrong() -> None:
    joined = join_classes(["cat", "dog"], ["dog", "cat"])
    assert joined.dtype == np.int64
    assert joined.tolist() == [1, 0]


def test_missing_and_extra_classes_are_listed() -> None:
    with pytest.raises(UserError) as caught:
        join_classes(["cat", "dgo"], ["cat", "dog", "elk"], where="photos")
    message = str(caught.value)
    assert "Not in the model: 'dgo'; did you mean 'dog'?" in message
    assert "Not in photos: 'dog', 'elk'." in message


def test_a_mapping_renames_and_may_leave_classes_out() -> None:
    assert join_classes(
        ["kitten", "dog", "puppy"], ["dog", "cat", "elk"], {"kitten": "cat", "puppy": "dog"}
    ).tolist() == [
        1,
        0,
        0,
    ]
    with pytest.raises(UserError, match="Not in the model: 'cow'"):
        join_classes(["kitten"], ["dog", "cat"], {"kitten": "cow"})


def test_names_with_the_same_wordnet_id_are_one_class() -> None:
    model = ["n01440764 tench", "n01443537 goldfish", "cat"]
    assert join_classes(["cat", "n01443537", "n01440764_tench, Tinca tinca"], model).tolist() == [2, 1, 0]
    assert join_classes(["n01443537-x", "n01440764 y", "cat"], ["n01443537", "cat", "n01440764"]).tolist() == [0, 2, 1]


@pytest.mark.parametrize("name", ["n014407645", "n0144076", "n01440764tench", "N01440764", " n01440764"])
def test_other_names_are_compared_in_full(name: str) -> None:
    assert join_classes([name, "cat"], ["cat", name]).tolist() == [1, 0]
    with pytest.raises(UserError, match="Not in the model"):
        join_classes([name, "cat"], ["cat", "n01440764 tench"])


def test_two_classes_with_the_same_wordnet_id_are_refused() -> None:
    with pytest.raises(UserError, match="photos: classes 'n01440764' and 'n01440764_tench' have the same WordNet id"):
        join_classes(["n01440764", "n01440764_tench"], ["n01440764 tench", "cat"], where="photos")
    with pytest.raises(UserError, match="the model: classes 'n01440764 a' and 'n01440764 b' have the same WordNet id"):
        join_classes(["cat", "n01440764"], ["n01440764 a", "n01440764 b"])


def test_an_empty_mapping_allows_data_with_only_some_classes() -> None:
    model = ["n01440764 tench", "n01443537 goldfish", "n01484850 great white shark"]
    with pytest.raises(UserError, match=r"\{\} if the data has only some of the model's classes"):
        join_classes(["n01484850", "n01440764"], model)
    assert join_classes(["n01484850", "n01440764"], model, {}).tolist() == [2, 0]
    assert join_classes(["shark", "n01440764"], model, {"shark": "n01484850"}).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "photos: a classifier needs at least two classes, but there are none"),
        (["cat"], "photos: a classifier needs at least two classes, but there is only 'cat'"),
        (["cat", "dog", "cat"], "photos: class 'cat' occurs twice"),
        (["cat", "dog", "Cat"], "photos: classes 'cat' and 'Cat' differ only in case"),
        (["cat", "cat "], "photos: classes 'cat' and 'cat ' differ only in spaces"),
        (["ice cream", "ice  Cream"], "photos: classes 'ice cream' and 'ice  Cream' differ only in spaces"),
        (["caf\u00e9", "cafe\u0301"], "photos: class 'caf\u00e9' occurs twice, in two spellings"),
        (["straße", "STRASSE"], "photos: classes 'straße' and 'STRASSE' differ only in case"),
    ],
)
def test_names_that_are_too_few_or_too_similar_are_refused(classes: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_classes(classes, "photos")
    assert str(caught.value).startswith(message)


def test_two_distinct_classes_are_accepted() -> None:
    check_classes(["cat", "dog"], "photos")
    check_distinct(["cat"], "photos")


def test_names_join_in_any_unicode_form() -> None:
    assert join_classes(["cafe\u0301", "tea"], ["tea", "caf\u00e9"]).tolist() == [1, 0]
    assert join_classes(["cafe\u0301"], ["tea", "mocca"], {"caf\u00e9": "mocca"}).tolist() == [1]


def test_a_mapping_of_an_unknown_class_is_refused() -> None:
    with pytest.raises(UserError, match=r"--classes maps 'pupy', but photos has no such class.*did you mean 'puppy'\?"):
        join_classes(["cat", "puppy"], ["cat", "dog"], {"pupy": "dog"}, "photos")


CHOICES = [  # the data's classes, items, classes of the model that grows, the chosen classes, the data's numbers
    ("cat dog emu", "emu cat", "", "emu cat", [1, -1, 0]),
    ("cat dog emu", "cat=pet emu=bird dog=pet", "", "pet bird", [0, 0, 1]),
    ("cat dog emu", "dog cat=dog", "", "dog", "--classes leaves only 'dog'; a classifier needs at least two classes"),
    ("cat dog emu", "emu dog=cat", "", "emu cat", [-1, 1, 0]),
    ("a a=b", "a=b a", "", "a=b a", [1, 0]),
    ("a a=b", "a=b=c a", "", "b=c a", "--classes a: class 'a' is listed twice; list it once"),
    ("a=b c", "a=b=d c", "", "d c", [0, 1]),
    ("n01440764_tench n01443537", "n01443537 n01440764=fish", "", "n01443537 fish", [1, 0]),
    ("dog cat", "", "emu dog", "emu dog cat", [1, 2]),
    ("n01440764 cat", "", "n01440764_tench emu", "n01440764_tench emu cat", [0, 2]),
    ("dog cat", "cat emu dog=hound", "emu dog", "cat emu hound", [2, 0]),
    ("caf\u0065\u0301 cat", "cat caf\u00e9", "", "cat caf\u00e9", [1, 0]),
    ("cat dog", "cot dog", "", "", "photos has no class 'cot'; did you mean 'cat'? The classes are 'cat', 'dog'"),
    ("cat dog", "zebra=x dog", "", "", "--classes zebra=x: photos has no class 'zebra'; there are: cat, dog"),
    ("cat dog", "cat= dog", "", "", "--classes cat= does not have the form OLD=NEW; give the new name of 'cat'"),
    ("cat dog", "cat cat=x", "", "", "--classes cat=x: class 'cat' is listed twice; list it once"),
    ("cat dog", "cat dog=Cat", "", "", "--classes: classes 'cat' and 'Cat' differ only in case; rename or merge one"),
    ("Cat dog", "", "cat emu", "", "photos: classes 'cat' and 'Cat' differ only in case; rename or merge one"),
]


@pytest.mark.parametrize(("data", "items", "old", "classes", "numbers"), CHOICES)
def test_classes_are_chosen_renamed_merged_and_added(
    data: str, items: str, old: str, classes: str, numbers: list[int] | str
) -> None:
    if isinstance(numbers, str):
        with pytest.raises(UserError, match=re.escape(numbers)):
            choose_classes(data.split(), items.split(), old.split(), "photos")
        return
    choice = choose_classes(data.split(), items.split(), old.split(), "photos")
    assert (choice.classes, choice.numbers.tolist()) == (tuple(classes.split()), numbers)


def test_imagenet_s_classes_are_a_thousand_ids_with_a_word_each() -> None:
    classes = imagenet_classes()
    assert len({name.split(" ")[0] for name in classes}) == 1000 == len(classes)
    assert [classes[k] for k in (0, 285, 999)] == [
        "n01440764 tench",
        "n02124075 Egyptian cat",
        "n15075141 toilet tissue",
    ]
    assert list(classes) == sorted(classes)


def test_imagenet_s_numbers_are_those_of_the_development_kit() -> None:
    numbers = {name[:9]: number for name, number in imagenet_numbers().items()}
    assert sorted(numbers.values()) == list(range(1, 1001))
    # The first validation images: ids in TensorFlow's imagenet_2012_validation_synset_labels.txt, numbers in
    # ILSVRC2012_validation_ground_truth.txt.
    ids = ("n01751748", "n09193705", "n02105855", "n04263257", "n03125729", "n01735189", "n02346627", "n02776631")
    assert [numbers[wordnet_id] for wordnet_id in ids] == [490, 361, 171, 822, 297, 482, 13, 704]
    assert (numbers["n02119789"], numbers["n02100735"], numbers["n03255030"]) == (1, 2, 1000)  # map_clsloc.txt


IMAGENET = ("n02012849 crane", "n03126707 crane", "n02113186 Cardigan", "n02963159 cardigan", "n02391049 zebra")


@pytest.mark.parametrize(
    ("name", "index"),
    [("n03126707", 1), ("n03126707_a_name", 1), ("Cardigan", 2), ("cardigan", 3), ("ZEBRA", 4), (IMAGENET[0], 0)],
)
def test_a_class_is_found_by_its_id_or_its_word(name: str, index: int) -> None:
    assert find_class(name, IMAGENET, "--class") == index


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crane", "--class crane: give the full name; several classes fit: 'n02012849 crane', 'n03126707 crane'"),
        ("zebar", "--class zebar: the model has no class 'zebar'; did you mean 'zebra'?"),
    ],
)
def test_a_class_with_a_doubtful_name_is_not_found(name: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        find_class(name, IMAGENET, "--class")
