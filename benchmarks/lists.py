"""Seconds of whole commands: help, and lists with an up-to-date index.

    python benchmarks/lists.py [--rounds 5]

Each time is the median of several processes after a first one, which writes the index into a new store. With --plugins,
the folder has a file that imports PyTorch. The claims are 1 s for lists and 0.5 s for help, on an otherwise idle
machine; the peer is a process that only imports PyTorch.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

LISTS = ("models", "recipes", "weights", "data", "protocols")
HELP = (["--version"], ["--help"], ["models", "--help"], ["train", "mnist-lenet", "--help"])
IMCLASS, PEER = [sys.executable, "-m", "imclass"], [sys.executable, "-c", "import torch"]
PLUGIN = (
    "import torch\nfrom imclass.data.source import DatasetEntry\n"
    "DATASETS = {'mine': DatasetEntry(print, 'of my own')}\n"
)


def seconds(command: Sequence[str], rounds: int, environment: dict[str, str]) -> tuple[float, float]:
    """Return the seconds of the first run and the median of those after it."""
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - began)
    return taken[0], statistics.median(taken[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        plugins = Path(folder) / "plugins"
        plugins.mkdir()
        (plugins / "mine.py").write_text(PLUGIN)
        environment = os.environ | {"IMCLASS_STORE": str(Path(folder) / "store")}
        commands = [*HELP, *([verb] for verb in LISTS), ["data", "--plugins", str(plugins)]]
        _, peer = seconds(PEER, rounds, environment)
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; import torch takes {peer:.2f} s")
        print("command                     first   median   of import torch")
        for words in commands:
            first, median = seconds([*IMCLASS, *words], rounds, environment)
            name = " ".join(words).replace(str(plugins), "DIR")
            print(f"{name:<25} {first:5.2f} s  {median:5.2f} s   {median / peer:5.2f}")


if __name__ == "__main__":
    main()
