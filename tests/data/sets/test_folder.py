"""Trees of images: their splits, the files that are skipped and noted, and the messages for mistakes."""

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


def number_files(*folders: str, n: int = 10) -> list[str]:
    return [f"{folder}/{i:03d}.png" for folder in folders for i in range(n)]


def open_split(root: Path, split: str = "train", seed: int = 0) -> FolderDataset:
    dataset = take_split(open_folder(DataLocation(Store(root / "store"), root, seed)), split, str(root))
    assert isinstance(dataset, FolderDataset)
    return dataset


def message(root: Path, split: str = "train") -> str:
    with pytest.raises(UserError) as error:
        open_split(root, split)
    assert str(root) in str(error.value)
    return str(error.value)


class TestHashSplit:
    def test_a_fifth_of_each_class_is_held_out(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("cat", n=20), *number_files("dog", n=9), *number_files("eel", n=2), "fox/only.png")
        train, test = open_split(tmp_path), open_split(tmp_path, "test")
        assert train.classes == test.classes == ("cat", "dog", "eel", "fox")
        assert np.bincount(train.targets.numpy()).tolist() == [16, 7, 1, 1]
        assert np.bincount(test.targets.numpy(), minlength=4).tolist() == [4, 2, 1, 0]
        assert train.splits == ("train", "test") and train.origin.rule == "hash 80/20, seed 0"
        assert open_split(tmp_path, seed=3).origin.rule == "hash 80/20, seed 3"

    def test_the_lowest_hashes_of_seed_and_name_are_held_out(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("cat", "dog", n=15))
        for seed in (0, 1):
            ranked = sorted(
                number_files("cat", n=15), key=lambda f: hashlib.sha256(f"{seed}\n{f}".encode()).hexdigest()
            )
            held = [f for f in open_split(tmp_path, "test", seed).files if f.startswith("cat")]
            assert sorted(held) == sorted(ranked[:3])
        assert open_split(tmp_path, "test", 0).files != open_split(tmp_path, "test", 1).files

    def test_train_and_test_make_up_all_images(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("b", "a", n=12), "b/more/inner.png")
        train, test, whole = (open_split(tmp_path, split) for split in ("train", "test", "all"))
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
        tree(tmp_path, *number_files("a", "b", n=100))
        before = set(open_split(tmp_path, "test").files)
        tree(tmp_path, *(f"a/new{i}.png" for i in range(5)))
        assert len(before & set(open_split(tmp_path, "test").files)) >= 38

    def test_a_decomposed_name_is_split_like_the_composed_one(self, tmp_path: Path) -> None:
        names = [f"é{i}.png" for i in range(20)]
        for form in ("NFC", "NFD"):
            tree(tmp_path / form, *(f"{k}/{unicodedata.normalize(form, n)}" for k in "ab" for n in names))
        held = {form: open_split(tmp_path / form, "test") for form in ("NFC", "NFD")}
        assert [nfc_form(f) for f in held["NFD"].files] == list(held["NFC"].files)
        assert held["NFD"].files != held["NFC"].files and (held["NFD"].ids == held["NFC"].ids).all()

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(
        st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40), min_size=2),
        st.integers(0, 2**63 - 1),
        st.sampled_from([0.01, 0.2, 0.5, 0.99]),
    )
    def test_the_share_of_each_class_is_held_out_and_at_least_one_of_two(
        self, sizes: dict[str, int], seed: int, share: float
    ) -> None:
        files = {name: tuple(f"{name}/{i}.png" for i in range(n)) for name, n in sizes.items()}
        held = hold_out(files, seed, share)
        for name, n in sizes.items():
            assert len(held[name]) == (0 if n == 1 else min(n - 1, max(1, round(share * n))))
            assert len(set(held[name])) == len(held[name]) and set(held[name]) <= set(files[name])
        turned = {name: names[::-1] for name, names in reversed(files.items())}
        assert hold_out(turned, seed, share) == held  # the order of the listing does not matter


def test_adding_a_file_leaves_the_ids_of_the_others(tmp_path: Path) -> None:
    tree(tmp_path, *number_files("b", "c"))
    before = open_split(tmp_path, "all")
    tree(tmp_path, "a/0.png", "b/000 first.png")
    after = open_split(tmp_path, "all")
    ids = dict(zip(after.files, after.ids.tolist(), strict=True))
    assert [ids[file] for file in before.files] == before.ids.tolist() and len(set(ids.values())) == 22


class TestSplitByFolders:
    @pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "dev", "Validation_set"])
    def test_a_validation_folder_may_have_several_names(self, tmp_path: Path, name: str) -> None:
        tree(tmp_path, *number_files("train/a", "train/b", n=3), *number_files(f"{name}/a", f"{name}/b", n=2))
        tree(tmp_path, *number_files("test/a", "test/b", n=1))
        sets = {split: open_split(tmp_path, split) for split in ("train", "validation", "test")}
        assert {split: len(d) for split, d in sets.items()} == {"train": 6, "validation": 4, "test": 2}
        assert all(d.splits == ("train", "validation", "test") and d.origin.rule == "folders" for d in sets.values())
        assert len({i for d in sets.values() for i in d.ids.tolist()}) == 12
        assert all(d.files == tuple(sorted(d.files)) for d in sets.values())

    def test_a_train_folder_alone_is_not_split(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("train/a", "train/b"))
        assert open_split(tmp_path).splits == ("train",) and len(open_split(tmp_path)) == 20
        assert "no split 'test'" in message(tmp_path, "test")
        assert "no split 'all'" in message(tmp_path, "all")

    def test_a_class_without_held_out_images_is_noted(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("train/a", "train/b", "test/a"))
        (tmp_path / "test" / "b").mkdir()
        found = open_split(tmp_path, "test")
        assert found.classes == ("a", "b") and "test has no images of 'b'" in found.origin.notes

    def test_labels_follow_class_names_and_not_positions(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("train/a", "train/b", "train/c"), *number_files("test/b", "test/c"))
        found = open_split(tmp_path, "test")
        assert {found.classes[k] for k in found.targets.numpy()} == {"b", "c"}

    def test_a_part_without_labels_is_left_out_and_noted(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("train/a", "train/b"), *number_files("test"))
        found = open_split(tmp_path)
        assert found.splits == ("train",)
        assert any(
            "test/ (no class folders with images)" in note or "test/000.png" in note for note in found.origin.notes
        )

    def test_folders_next_to_the_parts_are_left_out_and_noted(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("train/a", "train/b", "docs"))
        assert open_split(tmp_path).classes == ("a", "b")
        assert any("docs/" in note for note in open_split(tmp_path).origin.notes)

    def test_train_may_be_the_name_of_a_class(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("train", "car"))
        assert open_split(tmp_path).classes == ("car", "train") and open_split(tmp_path).origin.rule.startswith("hash")


class TestOtherNamesOfSplits:
    PAIRS = (
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("Training", "Test"),
        ("train-images", "test images"),
    )

    @pytest.mark.parametrize(("train", "test"), PAIRS)
    def test_names_of_public_data_sets(self, tmp_path: Path, train: str, test: str) -> None:
        tree(tmp_path, *number_files(f"{train}/a", f"{train}/b", n=3), *number_files(f"{test}/a", f"{test}/b", n=2))
        found = open_split(tmp_path, "test")
        assert found.classes == ("a", "b") and found.splits == ("train", "test") and found.origin.rule == "folders"
        assert len(found) == 4 and len(open_split(tmp_path)) == 6

    @pytest.mark.parametrize("other", ["papers", "test-multiple_fruits"])
    def test_folders_next_to_them_are_left_out(self, tmp_path: Path, other: str) -> None:
        tree(tmp_path, *number_files("Training/a", "Training/b", "Test/a", other))
        assert open_split(tmp_path).classes == ("a", "b")

    def test_a_part_inside_a_folder_of_its_name_is_found(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("training/training/a", "training/training/b", "validation/validation/b"))
        assert open_split(tmp_path).classes == ("a", "b") and open_split(tmp_path).splits == ("train", "validation")

    def test_split_names_without_folders_inside_are_classes(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("Training", "rest", "invalid"))
        assert open_split(tmp_path).classes == ("Training", "invalid", "rest")

    @pytest.mark.parametrize("deep", ["", "seg_train/"])
    def test_split_like_folders_that_contain_the_same_folders_are_refused(self, tmp_path: Path, deep: str) -> None:
        tree(
            tmp_path,
            *number_files(*(f"{part}/{deep}{k}" for part in ("seg_train", "seg_test") for k in "ab")),
            "seg_pred/1.png",
        )
        assert "'seg_test' and 'seg_train', which are named like splits and both contain 'a', 'b'" in message(tmp_path)

    def test_a_misspelt_train_folder_next_to_a_split_is_refused(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files(*(f"{part}/{k}" for part in ("trian", "val") for k in "ab")))
        assert "'trian' and 'val', of which 'val' is named like a split, and both contain 'a', 'b'" in message(tmp_path)

    def test_classes_with_the_same_folders_inside_are_allowed(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files(*(f"{part}/{k}" for part in ("cup", "test tube") for k in ("2023", "2024"))))
        assert open_split(tmp_path).classes == ("cup", "test tube")

    def test_split_like_folders_that_contain_other_folders_are_classes(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("test tube/a", "test tube/b", "train station/c", "train station/b"))
        assert open_split(tmp_path).classes == ("test tube", "train station")


class TestRunsInside:
    def run(self, folder: Path) -> None:
        tree(folder, "curves.png")
        (folder / "config.json").write_text('{"format": 2, "training": {"recipe": "folder"}}')

    def test_a_run_is_not_a_class_and_does_not_change_the_digest(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("a", "b"))
        before = open_split(tmp_path)
        for folder in ("runs/folder", "exp", "deep/er/run"):
            self.run(tmp_path / folder)
        tree(tmp_path, "runs/confusion.png", "runs/pictures/1/0.png")
        after = open_split(tmp_path)
        assert after.classes == ("a", "b") and after.files == before.files and after.digest() == before.digest()
        assert any("3 folders of imclass runs: 'exp', 'deep/er/run', 'runs/fol" in n for n in after.origin.notes)

    def test_a_run_in_a_part_is_skipped_and_one_in_a_class_is_refused(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("train/a", "train/b", "test/a"))
        self.run(tmp_path / "train" / "runs" / "folder")
        assert open_split(tmp_path).classes == ("a", "b") and len(open_split(tmp_path)) == 20
        self.run(tmp_path / "train" / "a" / "run")
        assert f"{tmp_path / 'train' / 'a'} contains images and the run" in message(tmp_path)

    def test_a_folder_named_runs_may_be_a_class(self, tmp_path: Path) -> None:
        assert open_split(tree(tmp_path, *number_files("runs", "b"))).classes == ("b", "runs")

    def test_a_run_given_as_the_data_is_refused(self, tmp_path: Path) -> None:
        self.run(tmp_path)
        assert "is a run of imclass, not a folder of images" in message(tmp_path)


class TestSkippedFiles:
    def test_hidden_and_stray_files_are_counted_and_named(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("a", "b", n=5))
        for name in (".DS_Store", "a/._000.png", "a/Thumbs.db", "b/desktop.ini", "__MACOSX/a/1.png", ".git/x.png"):
            tree(tmp_path, name)
        for name in ("README.md", "loose.png", "a/notes.txt", "a/b.csv", "a/inner/c.csv", "b/none"):
            tree(tmp_path, name)
        found = open_split(tmp_path, "all")
        assert len(found) == 10 and found.classes == ("a", "b")
        hidden, outside, other = found.origin.notes
        assert hidden.startswith("ignored 6 hidden") and "and 3 more" in hidden and "'.DS_Store'" in hidden
        assert outside.startswith("ignored 2 files") and "'README.md'" in outside and "'loose.png'" in outside
        assert other.startswith(
            "ignored 4 files without an image file extension (2 .csv, 1 .txt, 1 without an extension): 'a/b"
        )
        assert open_split(tree(tmp_path / "clean", *number_files("a", "b"))).origin.notes == ()

    def test_images_of_other_formats_are_listed_so_that_they_are_refused_by_name(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("a", "b"))
        (tmp_path / "a" / "scan.TIFF").write_bytes(b"II*\0")
        found = open_split(tmp_path, "all")
        assert "a/scan.TIFF" in found.files
        with pytest.raises(BadImage, match="TIFF") as bad:
            found[found.files.index("a/scan.TIFF")]
        assert bad.value.path == str(tmp_path / "a" / "scan.TIFF")

    def test_folders_that_systems_leave_on_disks_are_skipped(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("a", "b", n=2), "a/@eaDir/0.png", "a/.thumbnails/0.png", "a/._0.png")
        for name in ("lost+found", "System Volume Information", "$RECYCLE.BIN", ".Trash-1000"):
            (tmp_path / name).mkdir()
        found = open_split(tmp_path, "all")
        assert found.classes == ("a", "b") and len(found) == 4
        assert found.origin.notes[0].startswith("ignored 7 hidden files or folders: '$RECYCLE.BIN', '.Trash-1000'")


class TestLinks:
    def test_links_to_files_and_folders_are_followed(self, tmp_path: Path) -> None:
        tree(tmp_path / "elsewhere", *number_files("c", n=3))
        root = tree(tmp_path / "tree", *number_files("a", "b", n=4))
        (root / "a" / "link.png").symlink_to(tmp_path / "elsewhere" / "c" / "000.png")
        (root / "c").symlink_to(tmp_path / "elsewhere" / "c")
        found = open_split(root, "all")
        assert found.classes == ("a", "b", "c") and len(found) == 12
        assert np.array_equal(found[found.files.index("a/link.png")], decode(PNG))

    def test_loops_end_and_are_noted(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("a", "b", n=4))
        (tmp_path / "a" / "again").symlink_to(tmp_path)
        (tmp_path / "b" / "self").symlink_to(tmp_path / "b")
        found = open_split(tmp_path, "all")
        assert any("links to a folder that contains them" in note for note in found.origin.notes)
        assert len(found) == 8

    def test_paths_that_are_not_files_are_refused_when_they_are_read(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("a", "b", n=2))
        (tmp_path / "a" / "broken.png").symlink_to(tmp_path / "nothing.png")
        (tmp_path / "a" / "round.png").symlink_to(tmp_path / "a" / "round.png")
        os.mkfifo(tmp_path / "a" / "pipe.png")
        found = open_split(tmp_path, "all")
        codes = {}
        for name in ("broken", "round", "pipe"):
            with pytest.raises(BadImage) as bad:
                found[found.files.index(f"a/{name}.png")]
            codes[name] = bad.value.code
        assert codes == {"broken": "missing", "round": "unreadable", "pipe": "not-a-file"}
        assert len(found.digest()) == 64


class TestMistakes:
    def test_missing_folder_names_the_nearest(self, tmp_path: Path) -> None:
        tree(tmp_path / "flowers", *number_files("a", "b"))
        assert "did you mean 'flowers'?" in message(tmp_path / "flwers")
        assert "does not exist" in message(tmp_path / "no" / "where")

    def test_file_instead_of_a_folder(self, tmp_path: Path) -> None:
        assert "is a file" in message(tree(tmp_path, "a.png") / "a.png")

    def test_images_directly_in_the_root(self, tmp_path: Path) -> None:
        assert "are directly in" in message(tree(tmp_path, "1.png", "2.png"))

    def test_images_directly_in_train(self, tmp_path: Path) -> None:
        text = message(tree(tmp_path, "train/1.png", "test/2.png"))
        assert "are directly in" in text and str(tmp_path / "train") in text

    def test_empty_folder(self, tmp_path: Path) -> None:
        assert "no class folders" in message(tmp_path)

    def test_empty_class(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("a", "b"), "c/readme.txt")
        (tmp_path / "d").mkdir()
        text = message(tmp_path)
        assert f"the class folders 'c', 'd' in {tmp_path} have no images, only other files (1 .txt); the" in text

    def test_classes_with_files_of_other_formats(self, tmp_path: Path) -> None:
        tree(tmp_path, "train/a/1.svg", "train/a/2.svg", "train/b/1.SVG", "test/a/1.svg", "notes.md")
        assert "only other files (3 .svg); the extensions of images are jpg, jpeg, jpe, jfif, png" in message(tmp_path)

    def test_empty_class_in_training(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("train/a", "train/b", "test/a"))
        (tmp_path / "train" / "c").mkdir()
        assert "'c'" in message(tmp_path)

    def test_classes_that_differ_in_case(self, tmp_path: Path) -> None:
        assert "differ only in case" in message(tree(tmp_path, *number_files("Cat", "cat", "dog")))

    def test_classes_whose_names_look_the_same(self, tmp_path: Path) -> None:
        twins = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
        assert "occurs twice, in two spellings" in message(tree(tmp_path / "x", *number_files(*twins)))
        assert "'cat' and 'cat ' differ only in spaces" in message(
            tree(tmp_path / "y", *number_files("cat", "cat ", "dog"))
        )

    @pytest.mark.parametrize("part", ["val", "test"])
    def test_held_out_class_that_train_lacks(self, tmp_path: Path, part: str) -> None:
        tree(tmp_path, *number_files("train/cats", "train/dogs", f"{part}/cat"))
        text = message(tmp_path)
        assert str(tmp_path / part / "cat") in text and "did you mean 'cats'?" in text

    def test_no_training_part(self, tmp_path: Path) -> None:
        assert "has the folders 'test', 'val' but no 'train'" in message(
            tree(tmp_path, *number_files("val/a", "val/b", "test/a"))
        )

    def test_two_validation_parts(self, tmp_path: Path) -> None:
        text = message(tree(tmp_path, *number_files("train/a", "train/b", "val/a", "valid/a")))
        assert "'val'" in text and "'valid'" in text

    def test_unknown_split(self, tmp_path: Path) -> None:
        tree(tmp_path, *number_files("a", "b"))
        assert "no split 'validation'" in message(tmp_path, "validation")
        assert "did you mean 'train'" in message(tmp_path, "trian")

    def test_no_path(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="'folder' is a kind of data, not a path; give the path of the folder"):
            DATASETS["folder"].open(DataLocation(Store(tmp_path)))["train"]

    def test_a_folder_that_cannot_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: object) -> None:
            raise PermissionError(13, "Permission denied")

        tree(tmp_path, *number_files("a", "b"))
        monkeypatch.setattr(os, "scandir", refuse)
        assert "cannot be read: Permission denied" in message(tmp_path)


def test_a_single_class_can_be_opened(tmp_path: Path) -> None:
    assert open_split(tree(tmp_path, *number_files("cat")), "all").classes == ("cat",)


def test_class_names_are_composed_in_every_part(tmp_path: Path) -> None:
    nfc, nfd = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    tree(tmp_path, *number_files(f"train/{nfd}", "train/f", f"test/{nfc}", n=2))
    found = open_split(tmp_path, "test")
    assert nfd < "f" < nfc and found.classes == ("f", nfc) and found.targets.numpy().tolist() == [1, 1]


def test_a_class_of_one_image_is_noted(tmp_path: Path) -> None:
    assert "test has no images of 'c'" in open_split(tree(tmp_path, *number_files("a", "b"), "c/1.png")).origin.notes


def test_a_folder_that_cannot_be_read_counts_as_a_bad_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, *number_files("a", "b", n=3), "b/inner/x.png")
    lock(monkeypatch, "inner")
    found = open_split(tmp_path, "all")
    assert found.files[-1] == "b/inner" and "cannot read 1 folders: 'b/inner'" in found.origin.notes
    with pytest.raises(BadImage):
        found[6]
    assert len(found.digest()) == 64


def test_a_folder_is_a_data_set_that_decodes_its_files(tmp_path: Path) -> None:
    tree(tmp_path, *number_files("a", "b", n=3), "a/deep/er/x.png")
    (tmp_path / "b" / "y.jpg").write_bytes(jpeg())
    found = open_split(tmp_path, "all")
    assert isinstance(found, Dataset) and found.array is None
    assert found.name(3) == "a/deep/er/x.png" and found.targets.numpy()[3] == 0
    assert np.array_equal(found[len(found) - 1], decode(jpeg())) and found.targets.numpy()[-1] == 1
    assert found.origin.path == str(tmp_path.resolve()) and found.origin.name == tmp_path.name


def test_files_whose_names_are_not_valid_text_are_read(tmp_path: Path) -> None:
    tree(tmp_path, *number_files("a", "b"))
    (tmp_path / "a" / os.fsdecode(b"\xff\xfe.png")).write_bytes(PNG)
    found = open_split(tmp_path, "all")
    assert len(found) == 21 == len(set(found.ids)) and len(found.digest()) == 64
    assert all(np.array_equal(found[i], decode(PNG)) for i in range(21))


def test_the_digest_depends_only_on_names_and_contents(tmp_path: Path) -> None:
    tree(tmp_path / "x", *number_files("a", "b"))
    before = open_split(tmp_path / "x").digest()
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    assert open_split(tmp_path / "y").digest() == before != open_split(tmp_path / "x", "test").digest()
    first = open_split(tmp_path / "y").files[0]
    (tmp_path / "y" / first).write_bytes(jpeg())
    changed = open_split(tmp_path / "y").digest()
    tree(tmp_path / "x", "a/another name.png")
    assert (
        len({before, changed, open_split(tmp_path / "x", "all").digest(), open_split(tmp_path / "y", "all").digest()})
        == 4
    )


def test_the_tree_is_never_written_to(tmp_path: Path) -> None:
    root = tree(tmp_path / "x", *number_files("a", "b"))
    before = {p: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in root.rglob("*")}
    for i in range(len(open_split(root))):
        open_split(root)[i]
    open_split(root).digest()
    assert {p: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in root.rglob("*")} == before


def test_other_files_are_counted_only_in_classes_without_images(tmp_path: Path) -> None:
    """List suffixes only if a class without images has other files. A table in another class does not count."""
    tree(tmp_path, *number_files("cat", n=3), "cat/labels.csv", "dog/notes.md")
    assert "only other files (1 .md)" in message(tmp_path)
    (tmp_path / "dog/notes.md").unlink()
    assert "only other files" not in message(tmp_path)


def test_images_are_read_after_a_change_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "pets", *number_files("cat", "dog", n=3))
    monkeypatch.chdir(tmp_path)
    dataset = open_split(Path("pets"))
    before = dataset.digest()
    monkeypatch.chdir("/")
    assert dataset[0].shape == picture().shape and dataset.digest() == before
    (tmp_path / "pets" / dataset.files[0]).unlink()
    with pytest.raises(BadImage) as refused:
        dataset[0]
    assert refused.value.path == f"pets/{dataset.files[0]}"  # as the user spelled it
