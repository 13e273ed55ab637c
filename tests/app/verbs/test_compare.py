"""`imclass compare`: models and saved scores on the same images, with a verdict that allows for chance."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from imclass.app.cli.main import main
from imclass.core.contracts import Refused
from imclass.core.targets import OneOf
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.results import save_scores
from tests.support.small import save_untrained, tree

CLASSES = ("ant", "bee", "cow")
FACTS = {
    "models": ["m"], "tested": {"nets": [], "protocol": "", "name": "m"}, "scope": "split test of pets",
    "data": "pets", "split": "test",
}  # fmt: skip


def write_scores(
    path: Path,
    hits: int,
    n: int = 400,
    at: int = 0,
    refused: tuple[Refused, ...] = (),
    scope: str = FACTS["scope"],  # type: ignore[assignment]
) -> Path:
    """Write the scores of `n` images, `hits` of them right, from position `at` on."""
    labels = np.arange(n) % 3
    right = (np.arange(n) - at) % n < hits
    scores = 5 * np.eye(3, dtype=np.float32)[np.where(right, labels, (labels + 1) % 3)]
    found = evaluation_of(CLASSES, OneOf(labels), scores, np.arange(n), n + len(refused), refused)
    save_scores(path, found, [f"{CLASSES[k]}/{i}.png" for i, k in enumerate(labels)], FACTS | {"scope": scope})
    return path


def record(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> Any:
    """Return what `compare --json` prints."""
    capsys.readouterr()
    assert main(["compare", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def printed_lines(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    """Return the lines that `compare` prints."""
    capsys.readouterr()
    assert main(["compare", *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_small_difference_could_be_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write_scores(tmp_path / "a.npz", 300), write_scores(tmp_path / "b.npz", 304, at=50)
    lines = printed_lines(capsys, a, b, "--list", "2")
    assert lines[0].startswith(f"A  {a} (as trained)  top-1 75.00% (70.53 to 78.99)")
    assert lines[1].startswith(f"B  {b} (as trained)  top-1 76.00%")
    assert lines[2] == "400 images in both, matched by name and class"
    assert lines[3].startswith("B minus A: +1.00 points, 95% confidence interval -")
    assert lines[4] == "correct in both 250, only in A 50, only in B 54, in neither 46"
    p = scipy.stats.binomtest(50, 104).pvalue
    assert lines[5] == (
        f"McNemar's exact test: p = {p:.4f}. The difference could be due to chance (p is not below 0.05)."
    )
    assert "not to other runs" in lines[6]
    assert lines[8].startswith("The prediction changed for 104 images, and the rank of the true class for 104")
    assert " ".join(lines[9].split()) == "true class A predicts B predicts rank in A rank in B image"
    assert [line.split() for line in lines[10:]] == [
        ["bee", "bee", "cow", "1", "3", "bee/1.png"],
        ["cow", "cow", "ant", "1", "3", "cow/2.png"],
    ]


def test_a_large_difference_is_not_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write_scores(tmp_path / "a.npz", 300), write_scores(tmp_path / "b.npz", 330)
    assert any(
        "p < 0.0001. B is better, and the difference is unlikely to be due to chance" in line
        for line in printed_lines(capsys, a, b)
    )
    assert any("A is better" in line for line in printed_lines(capsys, b, a))
    found = record(capsys, a, b)
    assert not found["could_be_chance"] and found["p_value"] == pytest.approx(2.0**-29)
    assert found["difference"] == pytest.approx(30 / 400) == found["top1_b"] - found["top1_a"]
    assert found["interval"][0] < found["difference"] < found["interval"][1]
    assert (found["a"]["name"], found["b"]["name"], found["images"]) == (str(a), str(b), 400)
    assert len(found["changed"]) == 10 and found["changed"][0]["image"] == "bee/301.png"


def test_the_same_scores_are_a_tie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed_lines(capsys, write_scores(tmp_path / "a.npz", 300), write_scores(tmp_path / "b.npz", 300))
    assert lines[3] == "B minus A: +0.00 points, 95% confidence interval +0.00 to +0.00 (paired bootstrap)"
    assert len(lines) == 7  # without any image to list


def test_images_with_scores_in_only_one_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write_scores(tmp_path / "a.npz", 300)
    b = write_scores(
        tmp_path / "b.npz", 200, n=280, refused=(Refused("x.png", "empty", "0 bytes"),), scope="split test of cats"
    )
    found = record(capsys, a, b, code=1)
    assert (found["images"], found["only_a"], found["only_b"]) == (280, 120, 0)
    assert main(["compare", str(a), str(b)]) == 1  # images were refused
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "280 images in both, matched by name and class; left out: 120 only in A"
    assert lines[3] == "A was scored on split test of pets, B on split test of cats"


def test_saved_scores_may_replace_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tree(tmp_path / "pets")
    for name in ("a", "b"):
        classifier = save_untrained(tmp_path / f"{name}.safetensors")
    assert classifier.classes == ("cat", "dog")
    words = (tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--data", data)
    found = record(capsys, *words)
    assert found["images"] == 20 and found["p_value"] == 1.0 and found["ranks_changed"] == 0  # untrained from one seed
    scores = tmp_path / "b.npz"
    assert main(["evaluate", str(tmp_path / "b.safetensors"), "--data", str(data), "--save-scores", str(scores)]) == 0
    mixed = record(capsys, tmp_path / "a.safetensors", scores, "--data", data)
    assert (mixed["top1_a"], mixed["top1_b"]) == (found["top1_a"], found["top1_b"]) and mixed["only_a"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.npz", "a.npz"], "a.npz is given twice"),
        (["a.npz", "absent"], "absent"),
        (["a.npz", "b.npz", "--list", "-1"], "--list is -1; it must be 0 or more images"),
        (["a.npz", "b.npz", "--protocol", "center,dense"], "names several protocols"),
        (["a.npz", "b.npz", "--data", "pets"], "contains finished scores"),
        (["a.npz", "text.npz"], "text.npz is not a valid score file"),
        (["a.npz", "other.npz"], "have different classes"),
    ],
)
def test_a_mistake_yields_one_message(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scores(tmp_path / "a.npz", 300)
    write_scores(tmp_path / "b.npz", 300)
    (tmp_path / "text.npz").write_bytes(b"PK\x03\x04 and nothing more")
    found = evaluation_of(
        ("a", "b"), OneOf(np.zeros(1, np.int64)), np.eye(2, dtype=np.float32)[:1], np.zeros(1, np.int64), 1
    )
    save_scores(tmp_path / "other.npz", found, ["x"], FACTS)
    assert main(["compare", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and len(err.splitlines()) == 1


def test_classes_may_have_other_names_in_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets", classes=("kat", "hond"))
    for name in ("a", "b"):
        save_untrained(tmp_path / f"{name}.safetensors")
    Path("names.json").write_text(json.dumps({"kat": "cat", "hond": "dog"}))
    words = ["a.safetensors", "b.safetensors", "--data", "pets"]
    assert main(["compare", *words]) == 2
    assert "--classes FILE" in capsys.readouterr().err
    assert record(capsys, *words, "--classes", "names.json")["could_be_chance"]
