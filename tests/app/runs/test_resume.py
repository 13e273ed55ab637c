"""A stopped run goes on with another execution and ends with the same bits; what decides the result may not change."""

import shlex
import signal
from pathlib import Path

import pytest

from imclass.app.cli.main import main
from imclass.app.verbs import train as verb
from imclass.training.events import Event, StepEnd
from tests.support.small import digest, fingerprint, tree

BEGUN = "train mnist-lenet --data photos --epochs 2 --batch 8 --out"


class Stopper:
    """A consumer that presses Ctrl-C after the third step."""

    def see(self, event: Event) -> None:
        if isinstance(event, StepEnd) and event.at.step == 3:
            signal.raise_signal(signal.SIGINT)

    def close(self) -> None:
        pass


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the digest of a whole run; a second one, `part`, was stopped after three of its four steps."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "photos")
    assert main(shlex.split(f"{BEGUN} whole")) == 0
    with monkeypatch.context() as patched:
        patched.setattr(verb, "progress_consumer", lambda *_: Stopper())
        assert main(shlex.split(f"{BEGUN} part")) == 75
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
        "--device cpu",
        "--precision auto",
        "--precision fp32",
        "--workers 0 --keep 4 --memory 1 --save-every 1 --data photos/",
    ],
)
def test_what_decides_nothing_may_change(other: str, stopped: str) -> None:
    assert main(shlex.split(f"{BEGUN} part {other}")) == 0
    assert digest(Path("part")) == stopped
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
def test_what_decides_the_result_may_not(
    other: str, difference: str, stopped: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(Path("pictures"))
    before = fingerprint(Path("part"))
    assert main(shlex.split(f"{BEGUN} part {other}")) == 2
    message = capsys.readouterr().err
    assert "part was begun with another configuration" in message and difference in message
    assert "workers" not in message and fingerprint(Path("part")) == before


def test_a_run_in_bf16_goes_on_in_bf16(stopped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(verb, "progress_consumer", lambda *_: Stopper())
        assert main(shlex.split(f"{BEGUN} bf16 --precision bf16")) == 75
    assert main(shlex.split(f"{BEGUN} whole16 --precision bf16")) == 0
    assert main(shlex.split(f"{BEGUN} bf16 --precision auto")) == 0
    assert digest(Path("bf16")) == digest(Path("whole16")) != stopped
