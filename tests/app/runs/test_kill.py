"""SIGKILL at random moments: every run ends with the bits of a run that was never stopped."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

PRECISIONS = {("sgd", 0): "bf16", ("adam", 2048): "bf16"}  # one case of each optimiser, with and without memory
CASES = [
    pytest.param(
        *(optimiser, memory, workers, PRECISIONS.get((optimiser, memory), "fp32")),
        id=f"{optimiser}-{'memory' if memory else 'workers'}-{workers}",
    )
    for optimiser in ("sgd", "adam")
    for memory, workers in ((2048, 0), (0, 0), (0, 2))
]
CHAIN = ("chain", 2048, 0, "fp32")


def trials(
    folder: Path, count: int, optimiser: str, memory: int, workers: int, precision: str, images: int = 60
) -> dict[str, Any]:
    """Run `kill_trials.py` on data with this number of images in each of two classes, and return its results."""
    generator = np.random.default_rng(0)
    for name, base in (("dark", 40), ("light", 90)):
        (folder / "data" / name).mkdir(parents=True)
        for i in range(images):
            pixels = generator.integers(base, base + 100, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "data" / name / f"{i}.png")
    words = [str(folder), str(count), optimiser, str(memory), str(workers), precision]
    program = Path(__file__).parents[2] / "support" / "kill_trials.py"
    done = subprocess.run([sys.executable, str(program), *words], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(optimiser, memory, workers, precision, "went on from", sorted(found["went on from"]))
    return found


def check(found: dict[str, Any], count: int) -> None:
    """Check that all killed runs end with the same bits, another seed with others, and that kills hit many places."""
    assert len(found["killed"]) == count and set(found["killed"]) == {found["whole"]}
    assert found["other"] != found["whole"]
    assert len(set(found["went on from"])) > count // 4


def test_a_kill(tmp_path: Path) -> None:
    """Kill a chain, which covers everything in one run. The slow tests below cover more cases."""
    check(trials(tmp_path, 1, *CHAIN, images=24), 1)


@pytest.mark.slow
@pytest.mark.parametrize(("optimiser", "memory", "workers", "precision"), CASES)
def test_twenty_kills(tmp_path: Path, optimiser: str, memory: int, workers: int, precision: str) -> None:
    check(trials(tmp_path, 20, optimiser, memory, workers, precision), 20)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0, 2048])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_twenty_kills_of_finetune(tmp_path: Path, memory: int, workers: int) -> None:
    """Kill runs while they compute features, fit the last layer, end that leg, or train all layers for three epochs."""
    check(trials(tmp_path, 20, "finetune", memory, workers, "fp32"), 20)


@pytest.mark.slow
def test_forty_kills_in_a_chain(tmp_path: Path) -> None:
    """Kill runs of two legs with different networks and sizes, of which the second begins from random weights."""
    check(trials(tmp_path, 40, *CHAIN), 40)


@pytest.mark.slow
@pytest.mark.parametrize(("memory", "workers"), [(2048, 0), (0, 0), (0, 1), (0, 2)])
def test_thirty_kills_with_mixing_and_averages(tmp_path: Path, memory: int, workers: int) -> None:
    """Kill chains that mix images. The first leg keeps an exponential average, and the second one measures norms.

    If views are not kept in memory, images are also rescaled at random and their colours shifted.
    """
    check(trials(tmp_path, 30, "averaged", memory, workers, "fp32"), 30)
