"""Several processes of torchrun: the first prints one message, and no run begins."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import imclass
from imclass.app.cli.main import main
from imclass.app.runs import single
from imclass.core.errors import UserError


def under_torchrun(monkeypatch: pytest.MonkeyPatch, rank: int, count: int | str) -> None:
    """Set the variables that torchrun sets, and let no process wait."""
    monkeypatch.setenv("WORLD_SIZE", str(count))
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_of_several_processes_prints_the_message(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    under_torchrun(monkeypatch, rank, 2)
    assert main(["train", "mnist-lenet", "--out", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("imclass: ") == (1 - rank) and (rank == 1 or "without torchrun" in shown.err)
    assert shown.out == "" and not (tmp_path / "run").exists()


def test_another_process_stays_silent_when_torchrun_stops_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    under_torchrun(monkeypatch, 1, 2)
    monkeypatch.setattr(time, "sleep", lambda seconds: signal.raise_signal(signal.SIGTERM))
    assert main(["train", "mnist-lenet"]) == 2 and capsys.readouterr().err == ""


@pytest.mark.parametrize("count", [1, ""])
def test_one_process_trains(count: int | str, monkeypatch: pytest.MonkeyPatch) -> None:
    under_torchrun(monkeypatch, 0, count)
    assert main(["train", "mnist-lenet", "--dry-run"]) == 0


def test_in_python_every_process_raises_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    under_torchrun(monkeypatch, 1, 2)
    with pytest.raises(UserError, match="without torchrun"):
        imclass.train("mnist-lenet", tmp_path / "run")


@pytest.mark.slow
def test_torchrun_itself(tmp_path: Path) -> None:
    words = ["--standalone", "--nproc-per-node", "2", "-m", "imclass", "train", "mnist-lenet", "--out", "run"]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr.count("imclass: ") == 1 and not (tmp_path / "run").exists()
    assert "exitcode: 2" in done.stderr or "exitcode  : 2" in done.stderr
    assert time.monotonic() - start < 60 + single.PRINT_SECONDS
