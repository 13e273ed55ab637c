"""Files of scores: they are read back unchanged, and damaged ones are refused."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.core.contracts import Evaluation, Origin, Refused
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, OneOf
from imclass.data.arrays import ArrayDataset
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.results import image_names, is_scores_file, read_scores, save_scores

NAMES = ("a/1.png", "b/\udcff.png", "c/\u732b 3.png", "c/4.png")


def evaluation() -> Evaluation:
    random = np.random.default_rng(0)
    scores = random.normal(size=(4, 3)).astype(np.float32)
    refused = (Refused("x/\udcff.jpg", "empty", "0 bytes"),)
    return evaluation_of(("a", "b", "c"), OneOf(np.array([0, 1, 2, 2])), scores, np.array([5, 3, 9, 0]), 5, refused)


def write_and_load(path: Path) -> dict[str, np.ndarray]:
    """Write a file of scores to `path` and return its arrays."""
    save_scores(path, evaluation(), NAMES, {"protocol": "dense", "total": 0})
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path, was = tmp_path / "scores.npz", evaluation()
    save_scores(path, was, NAMES, {"protocol": "dense"})
    saved = read_scores(path)
    found = saved.evaluation
    assert saved.names == NAMES and saved.record["protocol"] == "dense"
    assert (found.classes, found.total, found.refused) == (was.classes, 5, was.refused)
    assert (found.measures, found.main) == (was.measures, "top1")
    np.testing.assert_array_equal(found.targets.numpy(), was.targets.numpy())
    for name in ("scores", "ids"):
        np.testing.assert_array_equal(getattr(found, name), getattr(was, name))
    assert [p.name for p in tmp_path.iterdir()] == ["scores.npz"]


def test_a_file_has_the_agreed_keys(tmp_path: Path) -> None:
    arrays = write_and_load(tmp_path / "scores.npz")
    kinds = {name: (array.dtype.kind, array.shape) for name, array in arrays.items()}
    assert kinds == {
        "ids": ("i", (4,)), "names": ("U", (4,)), "labels": ("i", (4,)), "scores": ("f", (4, 3)),
        "classes": ("U", (3,)), "json": ("U", ()),
    }  # fmt: skip
    assert json.loads(str(arrays["json"]))["total"] == 5  # of the evaluation, not of the record


def test_scores_are_recognised_among_other_files(tmp_path: Path) -> None:
    write_and_load(tmp_path / "scores.npz")
    (tmp_path / "model.safetensors").write_bytes((1000).to_bytes(8, "little") + b"{")
    assert is_scores_file(tmp_path / "scores.npz")
    assert not any(map(is_scores_file, (tmp_path / "model.safetensors", tmp_path, tmp_path / "absent")))


def replace_array(name: str, value: np.ndarray | None) -> Any:
    """Return a function that writes a file with one array replaced or left out."""

    def make(path: Path) -> None:
        arrays = write_and_load(path) | {name: value}
        np.savez(path, **{key: array for key, array in arrays.items() if array is not None})  # type: ignore[arg-type]

    return make


def replace_record(text: str) -> Any:
    return replace_array("json", np.array(text))


def compress(path: Path) -> None:
    np.savez_compressed(path, **write_and_load(path))  # type: ignore[arg-type]


def cut_short(path: Path) -> None:
    write_and_load(path)
    path.write_bytes(path.read_bytes()[:-200])


def flip_a_bit(path: Path) -> None:
    write_and_load(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"NUMPY") + 130] ^= 255
    path.write_bytes(content)


def header_of_a_giant(path: Path) -> None:
    write_and_load(path)
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**20)})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | {"scores.npy": text.getvalue()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


DAMAGED = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not scores"),
    "cut short": cut_short,
    "a bit flipped": flip_a_bit,
    "compressed": compress,
    "a giant": header_of_a_giant,
    "no names": replace_array("names", None),
    "no json": replace_array("json", None),
    "objects": replace_array("names", np.array([b"x", 1, None, {}], object)),
    "bytes for names": replace_array("names", np.array([b"1", b"2", b"3", b"4"])),
    "too few names": replace_array("names", np.array(["1", "2", "3"])),
    "flat scores": replace_array("scores", np.zeros(12, np.float32)),
    "scores in float64": replace_array("scores", np.zeros((4, 3))),
    "scores of another machine": replace_array("scores", np.zeros((4, 3), ">f4")),
    "a score that is not finite": replace_array("scores", np.full((4, 3), np.nan, np.float32)),
    "a label too large": replace_array("labels", np.array([0, 1, 2, 3])),
    "a label below zero": replace_array("labels", np.array([0, 1, 2, -1])),
    "a class twice": replace_array("classes", np.array(["a", "a", "b"])),
    "no record": replace_record("[]"),
    "no JSON": replace_record("{"),
    "a record without counts": replace_record("{}"),
    "a count in words": replace_record('{"total": "five", "refused_files": []}'),
    "refused files of no form": replace_record('{"total": 5, "refused_files": [{"path": 1}]}'),
    "deep": replace_record("[" * 100_000),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    DAMAGED[damage](path)
    with pytest.raises(UserError, match=r"scores\.npz is not a valid score file .*--save-scores FILE") as refusal:
        read_scores(path)
    assert "\n" not in str(refusal.value)


def test_a_file_without_images_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    arrays = write_and_load(path)
    empty = {
        name: array[:0] if name in ("ids", "names", "labels", "scores") else array for name, array in arrays.items()
    }
    np.savez(path, **empty)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="it has no images"):
        read_scores(path)
    with pytest.raises(UserError, match="does not exist; write scores with"):
        read_scores(tmp_path / "absent.npz")


def test_names_follow_the_ids_of_the_evaluation() -> None:
    targets, origin = OneOf(np.zeros(5, np.int64)), Origin("x", "x", "published")
    dataset = ArrayDataset(np.zeros((5, 2, 2, 1), np.uint8), targets, ("a", "b", "c"), ("test",), "test", origin)
    found = replace(evaluation(), ids=dataset.ids[[2, 1, 0, 4]])
    assert image_names(dataset, found) == ("test/00002", "test/00001", "test/00000", "test/00004")


def test_scores_of_several_labels_are_read_back(tmp_path: Path) -> None:
    marks = AnyOf(np.array([[1, 0, -1], [0, 1, 1]], np.int8))
    scores = np.array([[2, -1, 0], [0, 1, -3]], np.float32)
    first = evaluation_of(("a", "b", "c"), marks, scores, np.array([5, 3]), 2, thresholds=(0.25, 0.5, 0.125))
    save_scores(tmp_path / "s.npz", first, ("x", "y"), {})
    again = read_scores(tmp_path / "s.npz").evaluation
    assert isinstance(again.targets, AnyOf) and again.targets.numpy().tolist() == marks.numpy().tolist()
    assert again.measures == first.measures and again.thresholds == first.thresholds and again.main == "map"


@pytest.mark.parametrize(
    ("marks", "thresholds", "words"),
    [
        (np.full((4, 3), 2, np.int8), [], "a mark is not 1, 0 or -1"),
        (np.zeros((4, 2), np.int8), [], "marks has 2 entries where others have 3"),
        (np.zeros((4, 3), np.int8), [0.5], "it has 1 thresholds for 3 classes"),
    ],
)
def test_impossible_marks_are_refused(marks: np.ndarray, thresholds: list[float], words: str, tmp_path: Path) -> None:
    arrays = write_and_load(tmp_path / "s.npz")
    del arrays["labels"]
    record = json.loads(str(arrays["json"][()])) | {"thresholds": thresholds}
    arrays |= {"marks": marks, "json": np.array(json.dumps(record))}
    np.savez(tmp_path / "s.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=words):
        read_scores(tmp_path / "s.npz")
