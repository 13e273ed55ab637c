"""SIGKILL at random instants: every run ends with the bits of the run that was never stopped."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CASES = [
    pytest.param(optimiser, memory, workers, id=f"{optimiser}-{'memory' if memory else 'workers'}-{workers}")
    for optimiser in ("sgd", "adam")
    for memory, workers in ((2048, 0), (0, 0), (0, 2))
]


def trials(folder: Path, count: int, optimiser: str, memory: int, workers: int) -> dict[str, Any]:
    """What `kill_trials.py` found."""
    generator = np.random.default_rng(0)
    for name, base in (("dark", 40), ("light", 90)):
        (folder / "data" / name).mkdir(parents=True)
        for i in range(60):
            pixels = generator.integers(base, base + 100, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "data" / name / f"{i}.png")
    words = [str(folder), str(count), optimiser, str(memory), str(workers)]
    program = Path(__file__).parents[2] / "support" / "kill_trials.py"
    done = subprocess.run([sys.executable, str(program), *words], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(optimiser, memory, workers, "went on from", sorted(found["went on from"]))
    return found


def check(found: dict[str, Any], count: int) -> None:
    """All killed runs end alike, another seed does not, and the kills fell on different places."""
    assert len(found["killed"]) == count and set(found["killed"]) == {found["whole"]}
    assert found["other"] != found["whole"]
    assert len(set(found["went on from"])) > count // 4


@pytest.mark.parametrize(("optimiser", "memory", "workers"), CASES[5:])  # the others are slow, and below
def test_a_few_kills(tmp_path: Path, optimiser: str, memory: int, workers: int) -> None:
    check(trials(tmp_path, 2, optimiser, memory, workers), 2)


@pytest.mark.slow
@pytest.mark.parametrize(("optimiser", "memory", "workers"), CASES)
def test_twenty_kills(tmp_path: Path, optimiser: str, memory: int, workers: int) -> None:
    check(trials(tmp_path, 20, optimiser, memory, workers), 20)
