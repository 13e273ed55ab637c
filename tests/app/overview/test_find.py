"""The search for runs: at any depth, each once, and nothing else that has a config.json."""

import json
from pathlib import Path

import pytest

from imclass.app.overview.find import find_runs, natural_key
from imclass.core.errors import UserError


def write_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"format": 2, "training": {}, "execution": {}}))
    return folder


def test_runs_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    for name in ("run-10", "run-2", "deep/er/run", "run-2/folds/1", ".hidden/run"):
        write_run(tmp_path / name)
    expected = [tmp_path / name for name in ("deep/er/run", "run-2", "run-10")]
    assert find_runs([tmp_path]) == expected
    assert find_runs([tmp_path / "run-10", tmp_path]) == [tmp_path / "run-10", *expected[:2]]
    assert find_runs([tmp_path / "run-2/folds"]) == [tmp_path / "run-2/folds/1"]


def test_a_config_of_another_program_is_not_a_run(tmp_path: Path) -> None:
    """Check that a damaged config.json belongs to a run only if it lies next to a log."""
    write_run(tmp_path / "run")
    for name, content in (("model", '{"architectures": ["ResNet"]}'), ("list", "[1]"), ("damaged", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
    assert find_runs([tmp_path]) == [tmp_path / "run"]
    (tmp_path / "damaged" / "log.jsonl").touch()
    assert find_runs([tmp_path]) == [tmp_path / "damaged", tmp_path / "run"]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, problem in (("", "contains no run"), ("absent", "does not exist"), ("file", "is a file")):
        with pytest.raises(UserError, match=f"{problem}; pass a run, or a folder that contains runs"):
            find_runs([tmp_path / name])


def test_numbers_in_names_are_sorted_by_value() -> None:
    names = ["rate-0.03", "rate-0.1", "rate-2", "rate-10", "rate-a"]
    assert sorted(map(Path, reversed(names)), key=natural_key) == list(map(Path, names))
