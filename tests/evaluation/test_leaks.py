"""Images that a model was trained on: recognised by content in any place, left out of its score, and counted."""

import json
import shlex
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.app.cli.main import main
from imclass.core.contracts import Origin
from imclass.core.errors import UserError
from imclass.data import contents
from imclass.data.images.decode import hash_of
from imclass.evaluation.ensemble import Ensemble, EnsembleMember
from imclass.evaluation.leaks import leak_notes, recognise, sift, trained_contents
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.models.classifier import NetworkClassifier
from tests.support.pictures import CLASSES, pictures
from tests.support.small import save_untrained, tree

TRAIN = "train mnist-lenet --epochs 1 --batch 8"


def model(tmp_path: Path, *seen: int, name: str = "a") -> NetworkClassifier:
    """Return a model that was trained on these contents."""
    classifier = save_untrained(tmp_path / name, CLASSES)
    return replace(classifier, trained_on=np.array(sorted(seen), np.uint64))


class TestSift:
    def test_images_that_any_model_was_trained_on_are_left_out_and_counted(self, tmp_path: Path) -> None:
        data = pictures(10)  # image i has the content i
        one, two = model(tmp_path, 3, 5, 99), model(tmp_path, 5, 0)
        both = Ensemble((EnsembleMember(one), EnsembleMember(two)))
        for classifiers in ((one, two), (both,), (save_untrained(tmp_path / "b", CLASSES), both)):
            found = sift(data, classifiers, "leave-out")
            assert [found.dataset.name(i) for i in range(7)] == [data.name(i) for i in (1, 2, 4, 6, 7, 8, 9)]
            assert found.left_out == 3 and not len(found.included)
        scores = np.zeros((7, len(CLASSES)), np.float32)
        evaluation = found.with_counts(evaluation_of(CLASSES, found.dataset.targets, scores, found.dataset.ids, 7))
        assert evaluation.tally == "7 of 10 evaluated, 3 left out: the model was trained on them"

    def test_they_are_scored_and_counted_on_request(self, tmp_path: Path) -> None:
        data = pictures(10)
        found = sift(data, [model(tmp_path, 3, 5)], "include")
        assert found.dataset is data and found.left_out == 0 and found.included.tolist() == data.ids[[3, 5]].tolist()
        scores, kept = np.zeros((9, len(CLASSES)), np.float32), np.delete(np.arange(10), 5)  # image 5 was refused
        evaluation = found.with_counts(evaluation_of(CLASSES, data.targets[kept], scores, data.ids[kept], 10))
        assert evaluation.tally == "9 of 10 evaluated, the model was trained on 1 of them"

    def test_no_image_is_read_for_a_model_without_a_record(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = pictures(4)
        monkeypatch.setattr(type(data), "contents", lambda self: pytest.fail("images were read"))
        assert sift(data, [save_untrained(tmp_path / "a", CLASSES)], "leave-out").dataset is data
        assert sift(data, [model(tmp_path)], "leave-out").dataset is data

    def test_a_split_of_training_images_alone_is_refused_with_the_option(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"trained on all 4 images .*--trained include"):
            sift(pictures(4), [model(tmp_path, *range(9))], "leave-out")

    def test_unreadable_files_are_never_recognised(self, tmp_path: Path) -> None:
        found = contents.contents_of_files([tmp_path / "lost.png"], contents_store(tmp_path))
        assert not recognise(found, found).any()
        (tmp_path / "empty.png").touch()
        empty = contents.contents_of_files([tmp_path / "empty.png"], contents_store(tmp_path))
        assert not recognise(empty, empty).any()

    def test_the_contents_of_all_models_are_joined(self, tmp_path: Path) -> None:
        assert trained_contents([model(tmp_path, 5, 2), model(tmp_path, 2, 9)]).tolist() == [2, 5, 9]
        assert trained_contents([]).tolist() == []


def contents_store(folder: Path) -> Any:
    from imclass.store.digests import open_digests
    from imclass.store.store import Store

    return open_digests(Store(folder / "store"))


def test_images_that_are_in_train_as_well_are_noted() -> None:
    train, test, other = pictures(10), pictures(12), pictures(3, origin=Origin("a", "b", "folders"))
    assert leak_notes(train, [test])[0].startswith("10 of 12 test images are also in train; they are scored during")
    assert leak_notes(pictures(0), [other]) == ()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets")
    assert main(shlex.split(f"{TRAIN} --data pets --out run")) == 0
    return tmp_path


def evaluate_counts(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Return the counts of an evaluation, and its record."""
    capsys.readouterr()
    assert main(["evaluate", *words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    return tuple(record[key] for key in ("evaluated", "left_out", "trained_on", "total")), record


class TestCommandLine:
    def test_a_copy_is_recognised_without_the_run(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copytree("pets", "copy")
        (place / "copy/cat/000.png").rename(place / "copy/cat/renamed.png")
        min((place / "copy/dog").iterdir()).unlink()
        shutil.move("run/model.safetensors", "alone.safetensors")
        shutil.rmtree("run")
        counts, _ = evaluate_counts(capsys, "alone.safetensors", "--data", "copy")
        assert counts[0] + counts[1] == counts[3] == 19 and counts[0] in (3, 4) and counts[2] == 0
        assert main(["evaluate", "alone.safetensors", "--data", "copy"]) == 0
        text = capsys.readouterr().out
        assert f"{counts[0]} of 19 evaluated, {counts[1]} left out: the model was trained on them" in text

    def test_duplicates_inside_a_tree_are_recognised_and_noted_before_training(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        tree(tmp_path / "photos/train")
        tree(tmp_path / "photos/test", per_class=3, side=14)
        shutil.copy("photos/train/dog/000.png", "photos/test/dog/same.png")
        assert main(shlex.split(f"{TRAIN} --data photos --out run --dry-run")) == 0
        assert "note: 1 of 7 test images is also in train" in capsys.readouterr().err
        assert main(shlex.split(f"{TRAIN} --data photos --out run")) == 0
        assert evaluate_counts(capsys, "run")[0] == (6, 1, 0, 7)
        assert evaluate_counts(capsys, "run", "--trained", "include")[0] == (7, 0, 1, 7)
        (tmp_path / "photos/test/dog/same.png").unlink()
        assert evaluate_counts(capsys, "run")[0] == (6, 0, 0, 6)

    def test_data_of_training_images_alone_is_refused(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("cat", "dog"):
            (place / "seen" / name).mkdir(parents=True)
        from imclass.data.catalog import open_split
        from imclass.store.context import open_context

        training = open_split("pets", "train", open_context())
        for i in range(len(training)):
            shutil.copy(place / "pets" / training.name(i), place / "seen" / training.name(i))
        assert main(["evaluate", "run", "--data", "seen"]) == 2
        assert "trained on all 16 images" in capsys.readouterr().err
        counts, _ = evaluate_counts(capsys, "run", "--data", "seen", "--trained", "include", "--save-scores", "s.npz")
        assert counts == (16, 0, 16, 16)
        assert evaluate_counts(capsys, "s.npz")[0] == counts
        assert main(["evaluate", "run", "--data", "seen", "--trained", "include", "--table", "resnet"]) == 0
        assert "which the model was trained on" in capsys.readouterr().out
        for words in (("report", "run"), ("compare", "run", "s.npz")):
            assert main([*words, "--data", "seen"]) == 2
            assert "--trained include" in capsys.readouterr().err
            assert main([*words, "--data", "seen", "--trained", "include"]) == 0
        tally = "16 of 16 evaluated, the model was trained on 16 of them"
        assert tally in Path("reports/run/report.html").read_text()

    def test_several_models_are_scored_on_images_that_none_was_trained_on(
        self, place: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree("pets", "others")
        for i, name in enumerate(("cat", "dog")):
            shutil.rmtree(place / "others" / name)
            tree(place / "others", classes=(name,), per_class=6, side=16 + i)
        assert main(shlex.split(f"{TRAIN} --data others --out second --split-seed 1")) == 0
        tree(place / "new", per_class=5, side=20)
        for name in ("cat", "dog"):
            for source in ("pets", "others"):
                shutil.copy(place / source / name / "000.png", place / "new" / name / f"{source}.png")
        alone = [evaluate_counts(capsys, run, "--data", "new")[0] for run in ("run", "second")]
        both, record = evaluate_counts(capsys, "run", "second", "--data", "new")
        assert both[1] == sum(counts[1] for counts in alone) > 0 and both[3] == 14
        assert len(record["rows"]) == 3

    def test_a_small_test_split_is_read_without_its_large_training_split(
        self, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree(place / "large/train", per_class=20, side=16)
        tree(place / "large/test", per_class=2, side=18)
        read: Counter[str] = Counter()

        def counting(path: Path) -> bytes:
            read[str(path.relative_to(place / "large").parts[0])] += 1
            return hash_of(path)

        monkeypatch.setattr(contents, "hash_of", counting)
        assert evaluate_counts(capsys, "run", "--data", "large")[0] == (4, 0, 0, 4)
        assert read == {"test": 4}

    def test_nothing_is_fitted_to_training_images(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for i, part in enumerate(("train", "validation", "test")):
            tree(tmp_path / "photos" / part, per_class=8, side=12 + i)
        for name in ("cat", "dog"):
            shutil.copy(f"photos/train/{name}/000.png", f"photos/validation/{name}/same.png")
        assert main(shlex.split(f"{TRAIN} --data photos --out run")) == 0
        with_copies = evaluate_counts(capsys, "run", "--temperature")[1]
        for name in ("cat", "dog"):
            (tmp_path / f"photos/validation/{name}/same.png").unlink()
        without = evaluate_counts(capsys, "run", "--temperature")[1]
        assert with_copies["rows"][-1]["temperature"] == without["rows"][-1]["temperature"]
