"""Trees of images: how they are split, what is passed over and said, what is a mistake."""

import hashlib
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imclass.core.contracts import Dataset
from imclass.core.errors import BadImage, UserError
from imclass.core.text import nfc_form
from imclass.data.catalog import take_split
from imclass.data.images.decode import decode
from imclass.data.sets.folder import DATASETS, FolderDataset, hold_out, open_folder
from imclass.data.source import DataLocation
from imclass.store.store import Store
from tests.support.corpus import jpeg, picture, rgb_png
from tests.support.small import lock

PNG = rgb_png(picture())


def tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(PNG)
    return root


def numbered(*folders: str, n: int = 10) -> list[str]:
    return [f"{folder}/{i:03d}.png" for folder in folders for i in range(n)]


def opened(root: Path, split: str = "train", seed: int = 0) -> FolderDataset:
    dataset = take_split(open_folder(DataLocation(Store(root / "store"), root, seed)), split, str(root))
    assert isinstance(dataset, FolderDataset)
    return dataset


def message(root: Path, split: str = "train") -> str:
    with pytest.raises(UserError) as error:
        opened(root, split)
    assert str(root) in str(error.value)
    return str(error.value)


class TestHashSplit:
    def test_a_fifth_of_each_class_is_held_out(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("cat", n=20), *numbered("dog", n=9), *numbered("eel", n=2), "fox/only.png")
        train, test = opened(tmp_path), opened(tmp_path, "test")
        assert train.classes == test.classes == ("cat", "dog", "eel", "fox")
        assert np.bincount(train.targets.numpy()).tolist() == [16, 7, 1, 1]
        assert np.bincount(test.targets.numpy(), minlength=4).tolist() == [4, 2, 1, 0]
        assert train.splits == ("train", "test") and train.origin.rule == "hash 80/20, seed 0"
        assert opened(tmp_path, seed=3).origin.rule == "hash 80/20, seed 3"

    def test_it_is_the_rank_of_a_hash_of_seed_and_name(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("cat", "dog", n=15))
        for seed in (0, 1):
            ranked = sorted(numbered("cat", n=15), key=lambda f: hashlib.sha256(f"{seed}\n{f}".encode()).hexdigest())
            held = [f for f in opened(tmp_path, "test", seed).files if f.startswith("cat")]
            assert sorted(held) == sorted(ranked[:3])
        assert opened(tmp_path, "test", 0).files != opened(tmp_path, "test", 1).files

    def test_the_parts_and_the_whole_agree(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("b", "a", n=12), "b/more/inner.png")
        train, test, whole = (opened(tmp_path, split) for split in ("train", "test", "all"))
        assert sorted(train.files + test.files) == list(whole.files) == sorted(whole.files)
        assert not set(train.files) & set(test.files)
        assert len(set(whole.ids)) == 25 and whole.split == "all"
        place = {file: i for i, file in enumerate(whole.files)}
        for part in (train, test):
            positions = [place[file] for file in part.files]
            assert (whole.ids[positions] == part.ids).all()
            assert (whole.targets.numpy()[positions] == part.targets.numpy()).all()
            assert all(
                part.classes[k] == f.split("/")[0] for k, f in zip(part.targets.numpy(), part.files, strict=True)
            )

    def test_more_images_move_few_others(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("a", "b", n=100))
        before = set(opened(tmp_path, "test").files)
        tree(tmp_path, *(f"a/new{i}.png" for i in range(5)))
        assert len(before & set(opened(tmp_path, "test").files)) >= 38

    def test_the_way_a_name_is_composed_does_not_matter(self, tmp_path: Path) -> None:
        names = [f"é{i}.png" for i in range(20)]
        for form in ("NFC", "NFD"):
            tree(tmp_path / form, *(f"{k}/{unicodedata.normalize(form, n)}" for k in "ab" for n in names))
        held = {form: opened(tmp_path / form, "test") for form in ("NFC", "NFD")}
        assert [nfc_form(f) for f in held["NFD"].files] == list(held["NFC"].files)
        assert held["NFD"].files != held["NFC"].files and (held["NFD"].ids == held["NFC"].ids).all()

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(
        st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40), min_size=2),
        st.integers(0, 2**63 - 1),
        st.sampled_from([0.01, 0.2, 0.5, 0.99]),
    )
    def test_a_share_of_any_class_and_at_least_one_of_two(self, sizes: dict[str, int], seed: int, share: float) -> None:
        files = {name: tuple(f"{name}/{i}.png" for i in range(n)) for name, n in sizes.items()}
        held = hold_out(files, seed, share)
        for name, n in sizes.items():
            assert len(held[name]) == (0 if n == 1 else min(n - 1, max(1, round(share * n))))
            assert len(set(held[name])) == len(held[name]) and set(held[name]) <= set(files[name])
        turned = {name: own[::-1] for name, own in reversed(files.items())}
        assert hold_out(turned, seed, share) == held  # the order of the listing does not matter


def test_adding_a_file_leaves_the_ids_of_the_others(tmp_path: Path) -> None:
    tree(tmp_path, *numbered("b", "c"))
    before = opened(tmp_path, "all")
    tree(tmp_path, "a/0.png", "b/000 first.png")
    after = opened(tmp_path, "all")
    ids = dict(zip(after.files, after.ids.tolist(), strict=True))
    assert [ids[file] for file in before.files] == before.ids.tolist() and len(set(ids.values())) == 22


class TestOwnSplit:
    @pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "dev", "Validation_set"])
    def test_validation_by_any_name(self, tmp_path: Path, name: str) -> None:
        tree(tmp_path, *numbered("train/a", "train/b", n=3), *numbered(f"{name}/a", f"{name}/b", n=2))
        tree(tmp_path, *numbered("test/a", "test/b", n=1))
        sets = {split: opened(tmp_path, split) for split in ("train", "validation", "test")}
        assert {split: len(d) for split, d in sets.items()} == {"train": 6, "validation": 4, "test": 2}
        assert all(d.splits == ("train", "validation", "test") and d.origin.rule == "folders" for d in sets.values())
        assert len({i for d in sets.values() for i in d.ids.tolist()}) == 12
        assert all(d.files == tuple(sorted(d.files)) for d in sets.values())

    def test_training_alone_is_not_split_further(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("train/a", "train/b"))
        assert opened(tmp_path).splits == ("train",) and len(opened(tmp_path)) == 20
        assert "no split 'test'" in message(tmp_path, "test")
        assert "no split 'all'" in message(tmp_path, "all")

    def test_a_class_without_held_out_images_is_a_note(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("train/a", "train/b", "test/a"))
        (tmp_path / "test" / "b").mkdir()
        found = opened(tmp_path, "test")
        assert found.classes == ("a", "b") and "test has no images of 'b'" in found.origin.notes

    def test_labels_follow_names_and_not_places(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("train/a", "train/b", "train/c"), *numbered("test/b", "test/c"))
        found = opened(tmp_path, "test")
        assert {found.classes[k] for k in found.targets.numpy()} == {"b", "c"}

    def test_a_part_without_labels_is_left_out_and_said(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("train/a", "train/b"), *numbered("test"))
        found = opened(tmp_path)
        assert found.splits == ("train",)
        assert any(
            "test/ (no class folders with images)" in note or "test/000.png" in note for note in found.origin.notes
        )

    def test_other_folders_beside_the_parts_are_left_out_and_said(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("train/a", "train/b", "docs"))
        assert opened(tmp_path).classes == ("a", "b")
        assert any("docs/" in note for note in opened(tmp_path).origin.notes)

    def test_train_may_be_the_name_of_a_class(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("train", "car"))
        assert opened(tmp_path).classes == ("car", "train") and opened(tmp_path).origin.rule.startswith("hash")


class TestOtherNamesOfSplits:
    PAIRS = (
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("Training", "Test"),
        ("train-images", "test images"),
    )

    @pytest.mark.parametrize(("train", "test"), PAIRS)
    def test_public_data_sets_names(self, tmp_path: Path, train: str, test: str) -> None:
        tree(tmp_path, *numbered(f"{train}/a", f"{train}/b", n=3), *numbered(f"{test}/a", f"{test}/b", n=2))
        found = opened(tmp_path, "test")
        assert found.classes == ("a", "b") and found.splits == ("train", "test") and found.origin.rule == "folders"
        assert len(found) == 4 and len(opened(tmp_path)) == 6

    @pytest.mark.parametrize("other", ["papers", "test-multiple_fruits"])
    def test_folders_beside_them_are_left_out(self, tmp_path: Path, other: str) -> None:
        tree(tmp_path, *numbered("Training/a", "Training/b", "Test/a", other))
        assert opened(tmp_path).classes == ("a", "b")

    def test_a_part_in_a_folder_of_its_name(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("training/training/a", "training/training/b", "validation/validation/b"))
        assert opened(tmp_path).classes == ("a", "b") and opened(tmp_path).splits == ("train", "validation")

    def test_the_twin_names_are_classes_where_no_folders_are_in_them(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("Training", "rest", "invalid"))
        assert opened(tmp_path).classes == ("Training", "invalid", "rest")

    @pytest.mark.parametrize("deep", ["", "seg_train/"])
    def test_names_in_doubt_that_hold_the_same_folders_are_refused(self, tmp_path: Path, deep: str) -> None:
        tree(
            tmp_path,
            *numbered(*(f"{part}/{deep}{k}" for part in ("seg_train", "seg_test") for k in "ab")),
            "seg_pred/1.png",
        )
        said = message(tmp_path)
        assert "'seg_test' and 'seg_train', which are called like splits and both hold 'a', 'b'" in said

    def test_names_in_doubt_with_other_folders_are_classes(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("test tube/a", "test tube/b", "train station/c", "train station/b"))
        assert opened(tmp_path).classes == ("test tube", "train station")


class TestRunsInside:
    def run(self, folder: Path) -> None:
        tree(folder, "curves.png")
        (folder / "config.json").write_text('{"format": 2, "training": {"recipe": "folder"}}')

    def test_a_run_is_no_class_and_no_part_of_the_digest(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("a", "b"))
        before = opened(tmp_path)
        for folder in ("runs/folder", "exp", "deep/er/run"):
            self.run(tmp_path / folder)
        tree(tmp_path, "runs/confusion.png", "runs/pictures/1/0.png")
        after = opened(tmp_path)
        assert after.classes == ("a", "b") and after.files == before.files and after.digest() == before.digest()
        assert any(
            "3 folders that are runs of imclass: 'exp', 'deep/er/run', 'runs/fol" in n for n in after.origin.notes
        )

    def test_a_run_in_a_part_and_in_a_class(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("train/a", "train/b", "test/a"))
        self.run(tmp_path / "train" / "runs" / "folder")
        assert opened(tmp_path).classes == ("a", "b") and len(opened(tmp_path)) == 20
        self.run(tmp_path / "train" / "a" / "run")
        assert f"{tmp_path / 'train' / 'a'} holds images and the run" in message(tmp_path)

    def test_folders_called_runs_may_be_a_class(self, tmp_path: Path) -> None:
        assert opened(tree(tmp_path, *numbered("runs", "b"))).classes == ("b", "runs")

    def test_a_run_for_the_data(self, tmp_path: Path) -> None:
        self.run(tmp_path)
        assert "is a run of imclass and not a folder of images" in message(tmp_path)


class TestPassedOver:
    def test_hidden_and_stray_files_are_counted_and_named(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("a", "b", n=5))
        for name in (".DS_Store", "a/._000.png", "a/Thumbs.db", "b/desktop.ini", "__MACOSX/a/1.png", ".git/x.png"):
            tree(tmp_path, name)
        for name in ("README.md", "loose.png", "a/notes.txt", "a/b.csv", "a/inner/c.csv", "b/none"):
            tree(tmp_path, name)
        found = opened(tmp_path, "all")
        assert len(found) == 10 and found.classes == ("a", "b")
        hidden, outside, other = found.origin.notes
        assert hidden.startswith("ignored 6 hidden") and "and 3 more" in hidden and "'.DS_Store'" in hidden
        assert outside.startswith("ignored 2 files") and "'README.md'" in outside and "'loose.png'" in outside
        assert other.startswith("ignored 4 files that are no images by name (2 .csv, 1 .txt, 1 without a suffix): 'a/b")
        assert opened(tree(tmp_path / "clean", *numbered("a", "b"))).origin.notes == ()

    def test_images_of_other_formats_are_listed_so_that_they_are_refused_by_name(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("a", "b"))
        (tmp_path / "a" / "scan.TIFF").write_bytes(b"II*\0")
        found = opened(tmp_path, "all")
        assert "a/scan.TIFF" in found.files
        with pytest.raises(BadImage, match="TIFF") as bad:
            found[found.files.index("a/scan.TIFF")]
        assert bad.value.path == str(tmp_path / "a" / "scan.TIFF")

    def test_what_systems_leave_on_disks_is_passed_over(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("a", "b", n=2), "a/@eaDir/0.png", "a/.thumbnails/0.png", "a/._0.png")
        for name in ("lost+found", "System Volume Information", "$RECYCLE.BIN", ".Trash-1000"):
            (tmp_path / name).mkdir()
        found = opened(tmp_path, "all")
        assert found.classes == ("a", "b") and len(found) == 4
        assert found.origin.notes[0].startswith("ignored 7 hidden files or folders: '$RECYCLE.BIN', '.Trash-1000'")


class TestLinks:
    def test_links_to_files_and_folders_are_followed(self, tmp_path: Path) -> None:
        tree(tmp_path / "elsewhere", *numbered("c", n=3))
        root = tree(tmp_path / "tree", *numbered("a", "b", n=4))
        (root / "a" / "link.png").symlink_to(tmp_path / "elsewhere" / "c" / "000.png")
        (root / "c").symlink_to(tmp_path / "elsewhere" / "c")
        found = opened(root, "all")
        assert found.classes == ("a", "b", "c") and len(found) == 12
        assert np.array_equal(found[found.files.index("a/link.png")], decode(PNG))

    def test_loops_end_and_are_said(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("a", "b", n=4))
        (tmp_path / "a" / "again").symlink_to(tmp_path)
        (tmp_path / "b" / "self").symlink_to(tmp_path / "b")
        found = opened(tmp_path, "all")
        assert any("links to a folder that they lie in" in note for note in found.origin.notes)
        assert len(found) == 8

    def test_what_is_no_file_is_refused_when_it_is_read(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("a", "b", n=2))
        (tmp_path / "a" / "broken.png").symlink_to(tmp_path / "nothing.png")
        (tmp_path / "a" / "round.png").symlink_to(tmp_path / "a" / "round.png")
        os.mkfifo(tmp_path / "a" / "pipe.png")
        found = opened(tmp_path, "all")
        codes = {}
        for name in ("broken", "round", "pipe"):
            with pytest.raises(BadImage) as bad:
                found[found.files.index(f"a/{name}.png")]
            codes[name] = bad.value.code
        assert codes == {"broken": "missing", "round": "unreadable", "pipe": "not-a-file"}
        assert len(found.digest()) == 64


class TestMistakes:
    def test_missing_folder_names_the_nearest(self, tmp_path: Path) -> None:
        tree(tmp_path / "flowers", *numbered("a", "b"))
        assert "did you mean 'flowers'?" in message(tmp_path / "flwers")
        assert "there is no folder" in message(tmp_path / "no" / "where")

    def test_file_for_a_folder(self, tmp_path: Path) -> None:
        assert "is a file" in message(tree(tmp_path, "a.png") / "a.png")

    def test_images_directly_in_it(self, tmp_path: Path) -> None:
        assert "lie directly in" in message(tree(tmp_path, "1.png", "2.png"))

    def test_images_directly_in_train(self, tmp_path: Path) -> None:
        said = message(tree(tmp_path, "train/1.png", "test/2.png"))
        assert "lie directly in" in said and str(tmp_path / "train") in said

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        assert "no class folders" in message(tmp_path)

    def test_empty_class(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("a", "b"), "c/readme.txt")
        (tmp_path / "d").mkdir()
        said = message(tmp_path)
        assert "no images in the class folders 'c', 'd'" in said and "only other files (1 .txt): what is read" in said

    def test_classes_of_a_kind_that_is_not_read(self, tmp_path: Path) -> None:
        tree(tmp_path, "train/a/1.svg", "train/a/2.svg", "train/b/1.SVG", "test/a/1.svg", "notes.md")
        assert "only other files (3 .svg): what is read is jpg, jpeg, jpe, jfif, png" in message(tmp_path)

    def test_empty_class_in_training(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("train/a", "train/b", "test/a"))
        (tmp_path / "train" / "c").mkdir()
        assert "'c'" in message(tmp_path)

    def test_classes_that_differ_in_case(self, tmp_path: Path) -> None:
        assert "differ only in case" in message(tree(tmp_path, *numbered("Cat", "cat", "dog")))

    def test_classes_that_look_alike(self, tmp_path: Path) -> None:
        twins = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
        assert "named twice, in two spellings" in message(tree(tmp_path / "x", *numbered(*twins)))
        assert "'cat' and 'cat ' differ only in spaces" in message(
            tree(tmp_path / "y", *numbered("cat", "cat ", "dog"))
        )

    @pytest.mark.parametrize("part", ["val", "test"])
    def test_held_out_class_that_cannot_be_learnt(self, tmp_path: Path, part: str) -> None:
        tree(tmp_path, *numbered("train/cats", "train/dogs", f"{part}/cat"))
        said = message(tmp_path)
        assert str(tmp_path / part / "cat") in said and "did you mean 'cats'?" in said

    def test_no_training_part(self, tmp_path: Path) -> None:
        assert "no folder 'train'" in message(tree(tmp_path, *numbered("val/a", "val/b", "test/a")))

    def test_two_validation_parts(self, tmp_path: Path) -> None:
        said = message(tree(tmp_path, *numbered("train/a", "train/b", "val/a", "valid/a")))
        assert "'val'" in said and "'valid'" in said

    def test_unknown_split(self, tmp_path: Path) -> None:
        tree(tmp_path, *numbered("a", "b"))
        assert "no split 'validation'" in message(tmp_path, "validation")
        assert "did you mean 'train'" in message(tmp_path, "trian")

    def test_no_path(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="give the folder's own path"):
            DATASETS["folder"].open(DataLocation(Store(tmp_path)))["train"]

    def test_a_folder_that_cannot_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: object) -> None:
            raise PermissionError(13, "Permission denied")

        tree(tmp_path, *numbered("a", "b"))
        monkeypatch.setattr(os, "scandir", refuse)
        assert "cannot be read: Permission denied" in message(tmp_path)


def test_one_class_alone_can_be_opened(tmp_path: Path) -> None:
    assert opened(tree(tmp_path, *numbered("cat")), "all").classes == ("cat",)


def test_class_names_are_composed_in_every_part(tmp_path: Path) -> None:
    nfc, nfd = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    tree(tmp_path, *numbered(f"train/{nfd}", "train/f", f"test/{nfc}", n=2))
    found = opened(tmp_path, "test")
    assert nfd < "f" < nfc and found.classes == ("f", nfc) and found.targets.numpy().tolist() == [1, 1]


def test_a_class_of_one_image_is_noted(tmp_path: Path) -> None:
    assert "test has no images of 'c'" in opened(tree(tmp_path, *numbered("a", "b"), "c/1.png")).origin.notes


def test_a_folder_that_cannot_be_read_counts_as_an_image_that_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, *numbered("a", "b", n=3), "b/inner/x.png")
    lock(monkeypatch, "inner")
    found = opened(tmp_path, "all")
    assert found.files[-1] == "b/inner" and "cannot read 1 folders: 'b/inner'" in found.origin.notes
    with pytest.raises(BadImage):
        found[6]
    assert len(found.digest()) == 64


def test_it_is_a_data_set_that_decodes_its_files(tmp_path: Path) -> None:
    tree(tmp_path, *numbered("a", "b", n=3), "a/deep/er/x.png")
    (tmp_path / "b" / "y.jpg").write_bytes(jpeg())
    found = opened(tmp_path, "all")
    assert isinstance(found, Dataset) and found.array is None
    assert found.name(3) == "a/deep/er/x.png" and found.targets.numpy()[3] == 0
    assert np.array_equal(found[len(found) - 1], decode(jpeg())) and found.targets.numpy()[-1] == 1
    assert found.origin.path == str(tmp_path.resolve()) and found.origin.name == tmp_path.name


def test_names_that_are_no_text_are_files_all_the_same(tmp_path: Path) -> None:
    tree(tmp_path, *numbered("a", "b"))
    (tmp_path / "a" / os.fsdecode(b"\xff\xfe.png")).write_bytes(PNG)
    found = opened(tmp_path, "all")
    assert len(found) == 21 == len(set(found.ids)) and len(found.digest()) == 64
    assert all(np.array_equal(found[i], decode(PNG)) for i in range(21))


def test_the_digest_follows_names_and_contents_and_nothing_else(tmp_path: Path) -> None:
    tree(tmp_path / "x", *numbered("a", "b"))
    before = opened(tmp_path / "x").digest()
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    assert opened(tmp_path / "y").digest() == before != opened(tmp_path / "x", "test").digest()
    first = opened(tmp_path / "y").files[0]
    (tmp_path / "y" / first).write_bytes(jpeg())
    changed = opened(tmp_path / "y").digest()
    tree(tmp_path / "x", "a/another name.png")
    assert len({before, changed, opened(tmp_path / "x", "all").digest(), opened(tmp_path / "y", "all").digest()}) == 4


def test_nothing_in_the_tree_is_touched(tmp_path: Path) -> None:
    root = tree(tmp_path / "x", *numbered("a", "b"))
    before = {p: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in root.rglob("*")}
    for i in range(len(opened(root))):
        opened(root)[i]
    opened(root).digest()
    assert {p: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in root.rglob("*")} == before


def test_other_kinds_of_file_are_counted_in_the_class_without_images(tmp_path: Path) -> None:
    """A table in another class is no reason to name the kinds that are read."""
    tree(tmp_path, *numbered("cat", n=3), "cat/labels.csv", "dog/notes.md")
    assert "only other files (1 .md)" in message(tmp_path)
    (tmp_path / "dog/notes.md").unlink()
    assert "only other files" not in message(tmp_path)


def test_images_are_read_wherever_the_process_stands_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "pets", *numbered("cat", "dog", n=3))
    monkeypatch.chdir(tmp_path)
    dataset = opened(Path("pets"))
    before = dataset.digest()
    monkeypatch.chdir("/")
    assert dataset[0].shape == picture().shape and dataset.digest() == before
    (tmp_path / "pets" / dataset.files[0]).unlink()
    with pytest.raises(BadImage) as refused:
        dataset[0]
    assert refused.value.path == f"pets/{dataset.files[0]}"  # as the user spelled it
