"""Files with labels of ILSVRC-2012's validation images, in the forms that people have, and mistakes in them."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from imclass.core.errors import UserError
from imclass.data.sets.ilsvrc_labels import find_labels, read_labels
from tests.support.ilsvrc_tree import CLASSES, IDS, IN_CAFFE, IN_KIT, LABELS, validation_name

FORMS = {
    "LOC_val_solution.csv": "{stem},{id} 85 1 499 272 {id} 3 4 5 6 ",
    "ILSVRC2012_validation_ground_truth.txt": "{kit}",
    "ILSVRC2015_clsloc_validation_ground_truth.txt": "{kit}",
    "val.txt": "{stem}.JPEG {caffe}",
    "imagenet_2012_validation_synset_labels.txt": "{id}",
}


def write_labels(file: Path, form: str, labels: Sequence[int] = LABELS) -> Path:
    lines = ["ImageId,PredictionString"] if file.suffix == ".csv" else []
    for n, k in enumerate(labels, 1):
        stem = validation_name(n).removesuffix(".JPEG")
        lines.append(form.format(stem=stem, id=IDS[k], kit=IN_KIT[IDS[k]], caffe=IN_CAFFE[IDS[k]]))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("folder", ["", "ILSVRC2012_devkit_t12/data", "ILSVRC/Data/CLS-LOC"])
def test_every_form_gives_the_same_labels_in_every_place(tmp_path: Path, name: str, folder: str) -> None:
    file = write_labels(tmp_path / folder / name, FORMS[name])
    assert find_labels(tmp_path, tmp_path / "ILSVRC/Data/CLS-LOC", tmp_path / "val") == file
    assert read_labels(file) == {n: CLASSES[k] for n, k in enumerate(LABELS, 1)}


def test_the_two_numberings_differ(tmp_path: Path) -> None:
    by_position = write_labels(tmp_path / "a.txt", "{kit}")
    named = write_labels(tmp_path / "b.txt", "{stem}.JPEG {kit}")  # read as positions from 0
    assert read_labels(by_position).keys() == read_labels(named).keys()
    assert set(read_labels(by_position).values()).isdisjoint(read_labels(named).values())


def test_lists_with_names_may_be_in_any_order_and_name_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "val.txt"
    file.write_text(f"val/{validation_name(9)} 230\n\nval/{validation_name(2)}\t0\n")
    assert read_labels(file) == {9: CLASSES[2], 2: CLASSES[0]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("449\n0\n", "line 2: 0 is not the number of a class (1 to 1,000)"),
        ("ILSVRC2012_val_00000001.JPEG 1000\n", "line 1: 1,000 is not the number of a class (0 to 999)"),
        ("n01440764\nn99999999\n", "line 2: 'n99999999' is not the WordNet id of one of the 1,000 classes"),
        ("tench\n", "line 1: 'tench' is not the WordNet id"),
        ("cat.jpg 3\n", "line 1: 'cat.jpg' is not a validation image of ILSVRC-2012"),
        ("ILSVRC2012_val_00000001 n01440764\n" * 2, "line 2: ILSVRC2012_val_00000001 is already on an earlier line"),
    ],
)
def test_a_mistake_is_refused_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "val.txt"
    file.write_text(text)
    with pytest.raises(UserError, match=f"^{re.escape(f'{file}, {why}')}"):
        read_labels(file)


def test_without_labels_the_message_names_the_files_or_the_kit_to_unpack(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"have no labels; copy one of these files to .*: LOC_val_solution\.csv \(from"):
        find_labels(tmp_path, tmp_path, tmp_path / "val")
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").touch()
    with pytest.raises(UserError, match=r"have no labels; run: tar -xf .*t12\.tar\.gz -C "):
        find_labels(tmp_path, tmp_path, tmp_path / "val")
