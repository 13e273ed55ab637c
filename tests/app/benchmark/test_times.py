"""The training time of an entry excludes evaluation, and adds up over sessions."""

from pathlib import Path

import pytest

from imclass.app.benchmark.times import EntryTime, Stopwatch, read_ledger
from imclass.app.runs.directory import Run
from imclass.core.errors import UserError
from imclass.recipes.mnist import mnist_lenet
from imclass.training.events import EpochEnd, LegEnd, RunPosition, TaskProgress

AT = RunPosition()
EPOCH = EpochEnd(AT, 0.5, {"top1": 0.5}, 10, 0, 0.5)


def task(name: str) -> TaskProgress:
    return TaskProgress(AT, name, 1, 1, "images", 1, 1.0)


def begun(folder: Path) -> Run:
    """Return a run that has a config."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    return Run(folder)


def test_the_time_before_an_event_belongs_to_what_the_event_ends() -> None:
    seen: list[EntryTime] = []
    moments = iter([0.0, 1.0, 3.0, 7.0, 15.0])
    watch = Stopwatch(EntryTime("", training=100.0), seen.append, lambda: next(moments))
    for event in (EPOCH, task("encode train"), task("encode test"), LegEnd(AT, "", Path(), "", {})):
        watch.see(event)
    watch.close()
    assert (seen[-1].training, seen[-1].evaluation) == (103.0, 12.0)
    assert seen[0] == EntryTime("", training=103.0, evaluation=4.0)  # written while it runs, after five seconds


def test_sessions_add_up_and_another_config_begins_anew(tmp_path: Path) -> None:
    run = begun(tmp_path / "b" / "a")
    (tmp_path / "b" / "benchmark.json").write_text('{"format": 1, "entries": {}}')
    for session, epochs in ((1, 3), (2, 3), (1, 4)):
        ledger = read_ledger(tmp_path / "b")
        scratch = ledger.scratch("a")
        kept = scratch.is_dir()
        watch = ledger.begin("a", run, mnist_lenet(epochs=epochs))
        assert scratch.is_dir() == (kept and session == 2)  # features of another config are removed
        scratch.mkdir(parents=True, exist_ok=True)
        watch.add(10.0, False)
        watch.close()
        found = read_ledger(tmp_path / "b").times["a"]
        assert (found.training, found.sessions, len(found.machines)) == (10.0 * session, session, 1)


def test_a_removed_run_begins_anew(tmp_path: Path) -> None:
    run = begun(tmp_path / "b" / "a")
    (tmp_path / "b" / "benchmark.json").write_text('{"format": 1, "entries": {}}')
    read_ledger(tmp_path / "b").begin("a", run, mnist_lenet()).close()
    run.config.unlink()
    assert read_ledger(tmp_path / "b").begin("a", run, mnist_lenet()).known.sessions == 1


def test_a_folder_with_other_files_or_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "new").times == {}
    (tmp_path / "photo.png").touch()
    with pytest.raises(UserError, match="contains other files and is not a benchmark"):
        read_ledger(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        read_ledger(tmp_path / "photo.png")
    for content in ("[]", "{", '{"format": 9, "entries": {}}', '{"format": 1, "entries": {"a": 3}}'):
        (tmp_path / "benchmark.json").write_text(content)
        with pytest.raises(UserError, match="is damaged"):
            read_ledger(tmp_path)
