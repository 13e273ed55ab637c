"""The directory of a run: finished, resumed, changed, locked, or not a run's."""

import fcntl
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imclass.app.api import train
from imclass.app.cli.main import main
from imclass.app.runs.directory import Run, is_before, log_records
from imclass.core.errors import Interrupted, UserError
from imclass.core.preprocess import Preprocess
from imclass.recipes.mnist import mnist_lenet
from imclass.store.context import open_context
from imclass.training.checkpoint import Checkpoints
from imclass.training.events import EpochEnd, Event, LegEnd, RunPosition, StepEnd
from imclass.training.kinds import kind_tables
from tests.support.small import digest, fingerprint, tree

TIMES = ("seconds", "waited", "path")


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("data") / "pets")


def test_the_repr_of_a_run_shows_its_state(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", kind_tables(open_context()))
    assert repr(run) == f"Run('{tmp_path}/run', not begun)"
    run.folder.mkdir()
    run.config.touch()
    assert repr(run).endswith("begun)") and "not begun" not in repr(run)
    run.model.touch()
    assert repr(run).endswith("finished)")


def begin(pets: Path, out: Path, epochs: int = 3, **choices: Any) -> Iterator[Event]:
    """Train for two steps an epoch on 16 images."""
    return train("mnist-lenet", out, data=str(pets), epochs=epochs, batch=8, **choices)


def interrupt_at(pets: Path, out: Path, step: int, number: int = signal.SIGINT) -> None:
    """Train until a step, then signal the process, which saves and stops."""
    with pytest.raises(Interrupted, match="saved"):
        for event in begin(pets, out):
            if isinstance(event, StepEnd) and event.at.step == step:
                signal.raise_signal(number)


def lines(out: Path) -> list[dict[str, Any]]:
    """Return the log without fields that may differ between equal runs: times, and records of saving."""
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    kept = [r for r in records if r["event"] != "saved"]
    return [{k: v for k, v in r.items() if k not in TIMES} for r in kept]


@pytest.mark.draws_curves
def test_a_finished_run_has_the_documented_files(pets: Path, tmp_path: Path) -> None:
    events = list(begin(pets, tmp_path / "run", 1))
    assert isinstance(events[-1], LegEnd) and events[-1].path == tmp_path / "run" / "model.safetensors"
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        ".lock",
        "config.json",
        "log.jsonl",
        "tensorboard",
        "model.safetensors",
        "curves.png",
        "scores",
        "pictures",
    }
    picture = (tmp_path / "run" / "curves.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 5000


def test_checkpoints_of_a_finished_run_stay_if_configured(pets: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def files(name: str) -> int:
        return len(list((tmp_path / name).glob("checkpoints/*/*")))

    list(begin(pets, tmp_path / "kept", 1, keep_checkpoints=True))
    assert files("kept") == 3
    monkeypatch.setattr(Checkpoints, "clear", lambda kept: None)  # the twin: nothing else removes them
    list(begin(pets, tmp_path / "left", 1))
    assert files("left") == 3


def test_training_a_finished_run_again_does_nothing(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["train", "mnist-lenet", "--data", str(pets), "--epochs", "1", "--batch", "8", "--out", str(out)]
    assert main(words) == 0
    before, first = fingerprint(out), capsys.readouterr()
    assert "training mnist-lenet" in first.err and "finished: " in first.out
    assert main(words) == 0
    assert fingerprint(out) == before
    assert capsys.readouterr().out == first.out
    assert list(begin(pets, out, 1)) == []


def test_a_changed_config_is_refused_with_the_difference(pets: Path, tmp_path: Path) -> None:
    list(begin(pets, tmp_path / "run", 1))
    before = fingerprint(tmp_path / "run")
    with pytest.raises(UserError, match=r"(?s)stages\.0\.epochs: 1 before, 2 now.*seed: 0 before, 4 now"):
        begin(pets, tmp_path / "run", 2, seed=4)
    assert fingerprint(tmp_path / "run") == before


def test_a_field_that_is_new_in_the_row_has_its_default(pets: Path, tmp_path: Path) -> None:
    """Remove a field from a run's config, as if the row had got it later, and add one that the row has lost."""
    interrupt_at(pets, tmp_path / "run", 3)
    file = tmp_path / "run" / "config.json"
    record = json.loads(file.read_text())
    default = record["training"]["model"]["row"].pop("dropout")
    file.write_text(json.dumps(record))
    dropped = replace(mnist_lenet().model, row={"dropout": 0.5})
    with pytest.raises(UserError, match=rf"model\.row\.dropout: {default} before, 0\.5 now"):
        begin(pets, tmp_path / "run", model=dropped)
    assert any(isinstance(event, StepEnd) for event in begin(pets, tmp_path / "run"))
    record["training"]["model"]["row"]["lost"] = 5
    file.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"model\.row\.lost: 5 before, absent now"):
        begin(pets, tmp_path / "run")


def test_the_config_of_a_run_that_saved_nothing_may_change(pets: Path, tmp_path: Path) -> None:
    events = begin(pets, tmp_path / "run", 5, keep=3)
    next(events)
    events.close()  # type: ignore[attr-defined]  # it is a generator
    assert json.loads((tmp_path / "run/config.json").read_text())["execution"]["keep"] == 3
    assert any(isinstance(event, StepEnd) for event in begin(pets, tmp_path / "run", 1))
    assert json.loads((tmp_path / "run/config.json").read_text())["execution"]["keep"] == 2


def test_changed_data_is_refused(tmp_path: Path) -> None:
    data = tree(tmp_path / "pets")
    interrupt_at(data, tmp_path / "run", 3)
    image = data / "cat" / "001.png"
    kept = image.read_bytes()
    image.write_bytes((data / "dog" / "001.png").read_bytes())
    (data / "cat" / "003.png").write_bytes(kept)  # one of the two is a training image
    with pytest.raises(UserError, match="the content of the data"):
        begin(data, tmp_path / "run")


def test_a_second_process_is_refused(pets: Path, tmp_path: Path) -> None:
    """Take a second lock in this process, which is as good as in another one: locks belong to open files."""
    run = Run(tmp_path / "run")
    first = begin(pets, run.folder)
    next(iter(first))
    before = (run.folder / "config.json").read_text()
    with pytest.raises(
        UserError, match=r"another process is training in .*; wait until it has finished, or choose another --out"
    ):
        next(iter(begin(pets, run.folder)))
    with pytest.raises(UserError, match="another process is training"):
        begin(pets, run.folder, 7)  # nothing is saved yet, but the config is in use
    assert (run.folder / "config.json").read_text() == before
    assert isinstance(list(first)[-1], LegEnd)
    with (run.folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the run has released it


@pytest.mark.parametrize("step", [1, 2, 3, 6])
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    step: int, number: int, whole: Path, pets: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    if step < 6:
        interrupt_at(pets, out, step, number)
        assert lines(out)[-1]["step"] == step and not Run(out).is_finished
        list(begin(pets, out))
    else:  # after the last step only its model remains to be written
        with pytest.raises(Interrupted, match="the run is finished"):
            for event in begin(pets, out):
                if isinstance(event, EpochEnd) and event.at.step == step:
                    signal.raise_signal(number)
    assert digest(out) == digest(whole)
    assert lines(out) == lines(whole)


@pytest.fixture(scope="module")
def whole(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run that is never stopped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    list(begin(pets, out))
    return out


def test_another_seed_gives_another_model_and_log(whole: Path, pets: Path, tmp_path: Path) -> None:
    """Check, as a twin of the comparisons above, that a difference would be noticed."""
    list(begin(pets, tmp_path / "run", seed=1))
    assert digest(tmp_path / "run") != digest(whole)
    assert lines(tmp_path / "run") != lines(whole)


def test_a_caller_who_stops_iterating_resumes_from_the_last_save(whole: Path, pets: Path, tmp_path: Path) -> None:
    for event in begin(pets, tmp_path / "run"):
        if isinstance(event, StepEnd) and event.at.step == 5:
            break
    assert lines(tmp_path / "run")[-1]["step"] == 5  # written at once
    steps = [event.at.step for event in begin(pets, tmp_path / "run") if isinstance(event, StepEnd)]
    assert steps == [5, 6]
    assert digest(tmp_path / "run") == digest(whole) and lines(tmp_path / "run") == lines(whole)


def test_a_half_written_line_is_dropped(whole: Path, pets: Path, tmp_path: Path) -> None:
    interrupt_at(pets, tmp_path / "run", 3)
    log = tmp_path / "run" / "log.jsonl"
    with log.open("a") as file:
        file.write('{"event": "step_end", "step": 4, "lo')
    list(begin(pets, tmp_path / "run"))
    assert lines(tmp_path / "run") == lines(whole)


def test_only_lines_that_are_complete_objects_are_read(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"a": 1}\n\xff\xfe\n[1]\n\n{"b": 2}\n{"c"')
    assert log_records(log) == [('{"a": 1}', {"a": 1}), ('{"b": 2}', {"b": 2})]


@pytest.mark.parametrize(
    ("event", "step", "batch", "kept"),
    [
        ("step_end", 3, 1, True),
        ("step_end", 4, 2, False),
        ("epoch_start", 2, 0, True),
        ("evaluated", 2, 2, True),
        ("evaluated", 3, 1, False),
    ],
)
def test_records_before_a_checkpoint_within_an_epoch_are_kept(event: str, step: int, batch: int, kept: bool) -> None:
    at = RunPosition(stage=0, epoch=1, batch=1, step=3, samples=24)
    record = {"event": event, "stage": 0, "epoch": step // 3, "batch": batch, "step": step, "samples": 8 * step}
    assert is_before(record, at) is kept


def test_the_next_epoch_begins_after_a_checkpoint_between_epochs() -> None:
    at = RunPosition(epoch=1, batch=0, step=2, samples=16)
    record = {"stage": 0, "epoch": 1, "batch": 0, "step": 2, "samples": 16}
    assert is_before({**record, "event": "saved"}, at)
    assert not is_before({**record, "event": "epoch_start"}, at)


@pytest.mark.parametrize(
    "content", ["{}", "[]", "{", '{"format": 1, "config": {}, "data": {}}', "\udcff", "[" * 99_999]
)
def test_a_config_that_is_not_a_run_s_is_left_alone(content: str, pets: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content, errors="surrogateescape")
    before = fingerprint(tmp_path)
    with pytest.raises(UserError, match=r"config\.json is not a run's config"):
        begin(pets, tmp_path)
    assert fingerprint(tmp_path) == before


CHECKS_INPUT = """
import sys
from pathlib import Path
from imclass.app.cli.checks import read_class_mapping
from imclass.app.settings.record import read_run_record
from imclass.core.errors import UserError
from imclass.training.kinds import kind_tables

reads = (lambda file: read_run_record(file, kind_tables()), read_class_mapping)
for i, file in enumerate(sys.argv[1:]):
    try:
        print("accepted", reads[i % 2](Path(file)))
    except UserError as error:
        print("refused", error)
"""


@pytest.mark.slow
def test_input_is_checked_without_asserts(pets: Path, tmp_path: Path) -> None:
    """Read files under `python -O`, which removes every `assert`."""
    next(iter(begin(pets, tmp_path / "run")))
    config, files = json.loads((tmp_path / "run" / "config.json").read_text()), list[Path]()
    for changed, mapping in (({}, '{"puppy": "dog"}'), ({"format": 99}, '["puppy"]')):
        for text in (json.dumps(config | changed), mapping):
            files.append(tmp_path / f"{len(files)}.json")
            files[-1].write_text(text)
    words = [sys.executable, "-O", "-c", CHECKS_INPUT, *map(str, files)]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in printed.splitlines()] == ["accepted", "accepted", "refused", "refused"]


def test_other_files_are_not_mixed_with_a_run(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="contains other files"):
        begin(pets, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / "thesis.txt").unlink()
    next(iter(begin(pets, tmp_path)))  # an empty one is fine
    assert (tmp_path / "config.json").is_file()


def test_mistakes_are_found_before_the_directory_is_made(pets: Path, tmp_path: Path) -> None:
    choices: dict[str, Any]
    for choices in ({"data": "nowhere"}, {"batch": 17}, {"epochs": 0}, {"preprocess": Preprocess(size=32)}):
        choices = {"data": str(pets), "batch": 8, **choices}
        with pytest.raises(UserError):
            train("mnist-lenet", tmp_path / "run", **choices)
    assert list(tmp_path.iterdir()) == []
