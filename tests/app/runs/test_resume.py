"""Resuming a stopped run: execution may change without changing bits, and choices that decide the result may not."""

import shlex
import signal
from pathlib import Path

import pytest
import torch

from imclass.app.cli.main import main
from imclass.app.verbs import train as verb
from imclass.training.events import Event, StepEnd
from tests.support.small import digest, fingerprint, tree

COMMAND = "train mnist-lenet --data photos --epochs 2 --batch 8 --out"


class Stopper:
    """A consumer that presses Ctrl-C after the third step."""

    def see(self, event: Event) -> None:
        if isinstance(event, StepEnd) and event.at.step == 3:
            signal.raise_signal(signal.SIGINT)

    def close(self) -> None:
        pass


@pytest.fixture
def digest_of_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Train the run `whole`, stop the run `part` after three of its four steps, and return the digest of `whole`."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "photos")
    assert main(shlex.split(f"{COMMAND} whole")) == 0
    with monkeypatch.context() as patched:
        patched.setattr(verb, "progress_consumer", lambda *_: Stopper())
        assert main(shlex.split(f"{COMMAND} part")) == 75
    assert not Path("part/model.safetensors").exists()
    return digest(Path("whole"))


@pytest.mark.parametrize(
    "other",
    [
        "--workers 1",
        "--keep 3",
        "--memory 0",
        "--save-every 0",
        "--strict",
        "--data photos/",
        "--data ./photos",
        pytest.param("--device cpu", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="auto is a GPU")),
        "--precision auto",
        "--precision fp32",
        "--workers 0 --keep 4 --memory 1 --save-every 1 --data photos/",
    ],
)
def test_options_of_execution_may_change(other: str, digest_of_whole: str) -> None:
    assert main(shlex.split(f"{COMMAND} part {other}")) == 0
    assert digest(Path("part")) == digest_of_whole
    for kept in ("scores/test.npz", "pictures/index.json", "pictures/00.png"):
        assert Path("part", kept).read_bytes() == Path("whole", kept).read_bytes()


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ("--precision bf16", "precision: fp32 before, bf16 now"),
        ("--schedule.rate 0.2", "stages.0.schedule.rate: 0.05 before, 0.2 now"),
        ("--seed 1", "seed: 0 before, 1 now"),
        ("--data pictures", "data: photos before, pictures now"),
        ("--workers 1 --nonfinite skip", "nonfinite: stop before, skip now"),
    ],
)
def test_choices_that_decide_the_result_may_not_change(
    other: str, difference: str, digest_of_whole: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(Path("pictures"))
    before = fingerprint(Path("part"))
    assert main(shlex.split(f"{COMMAND} part {other}")) == 2
    message = capsys.readouterr().err
    assert "part was begun with a different configuration" in message and difference in message
    assert "workers" not in message and fingerprint(Path("part")) == before


def test_a_run_in_bf16_resumes_in_bf16(digest_of_whole: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(verb, "progress_consumer", lambda *_: Stopper())
        assert main(shlex.split(f"{COMMAND} bf16 --precision bf16")) == 75
    assert main(shlex.split(f"{COMMAND} whole16 --precision bf16")) == 0
    assert main(shlex.split(f"{COMMAND} bf16 --precision auto")) == 0
    assert digest(Path("bf16")) == digest(Path("whole16")) != digest_of_whole
