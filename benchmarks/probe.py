"""Comparison of `imclass train probe` with a plain script that uses PyTorch and scikit-learn.

    python benchmarks/probe.py [--data DIR] [--init MODEL] [--rounds 3] [--precision fp32 auto]

Both run as processes, in turn, and are timed from start to finish. Each process reads the photos and the weights, fits
the training photos with the strength chosen from the same grid by five-fold cross-validation, and scores the test
photos. The targets, which the script measures but does not enforce, are:

1. The accuracy is at least that of the plain script.
2. The time is at most that of the plain script, and at most 0.8 of it if bf16 is faster (`--precision auto`).
3. A second run, which finds its features in the store, takes at most a tenth of the time of the first run on the 2,934
   photos of five kinds of flowers.

Without --data, 120 photos of noise are used, and without --init random weights. This only checks that both sides run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PLAIN = "plain"  # the argument that makes this file run the plain script


def run_plain_script(data: str, init: str) -> float:
    """Return the accuracy of a plain script with float32, batches of 32 photos and scikit-learn's grid search."""
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from imclass.app.load import load_network
    from imclass.data.catalog import open_splits
    from imclass.pipelines.solvers.logistic import GRID
    from imclass.store.context import open_context

    context = open_context()
    network = load_network(init, context)
    features, labels = {}, {}
    for name, split in open_splits(data, context).items():
        rows = []
        for at in range(0, len(split), 32):
            views = np.stack([network.preprocess(split[i]) for i in range(at, min(at + 32, len(split)))])
            with torch.inference_mode():
                rows.append(network.network.eval().embed(torch.from_numpy(views.transpose(0, 3, 1, 2).copy())).numpy())
        features[name], labels[name] = np.concatenate(rows), split.targets.numpy()
    chosen = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        {"logisticregression__C": GRID},
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
    ).fit(features["train"], labels["train"])
    held_out = next(name for name in features if name != "train")
    return float(chosen.score(features[held_out], labels[held_out]))


def run_process(words: Sequence[str], store: Path) -> tuple[float, Any]:
    """Return the duration of a Python process in seconds, and the JSON that it prints."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], env={**os.environ, "IMCLASS_STORE": str(store)}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - began, json.loads(done.stdout)


def run_imclass(arguments: argparse.Namespace, precision: str, out: Path, store: Path) -> tuple[float, float]:
    """Return the duration in seconds and the accuracy of `imclass train probe`."""
    words = ("-m", "imclass", "train", "probe", "--data", arguments.data, "--init", arguments.init, "--out", str(out))
    seconds, record = run_process([*words, "--precision", precision, "--json"], store)
    (metrics,) = record["metrics"].values()
    return seconds, metrics["top1"]


def fresh_store(folder: Path) -> Path:
    """Return a new store that contains only the weights of the user's store."""
    from imclass.store.store import default_folder

    folder.mkdir()
    (folder / "weights").symlink_to(default_folder().absolute() / "weights")
    return folder


def noise_photos(folder: Path) -> str:
    """Write photos of noise in two classes, and return their folder."""
    for i in range(120):
        path = folder / "photos" / f"class {i % 2}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(i).integers(0, 200 + 50 * (i % 2), (300, 400, 3)).astype(np.uint8)
        Image.fromarray(levels).save(path)
    return str(folder / "photos")


def random_weights(folder: Path) -> str:
    """Write a GoogLeNet with random weights, and return the file."""
    from imclass.models.classifier import create

    create("googlenet", ("class 0", "class 1")).save(folder / "random.safetensors")
    return str(folder / "random.safetensors")


def main() -> None:
    """Print durations and accuracies, then the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="")
    parser.add_argument("--init", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", nargs="+", default=["fp32", "auto"])
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        arguments.data = arguments.data or noise_photos(folder)
        arguments.init = arguments.init or random_weights(folder)
        for number in range(arguments.rounds):
            words = [__file__, PLAIN, arguments.data, arguments.init]
            found = {PLAIN: run_process(words, fresh_store(folder / f"store-{number}"))}
            for precision in arguments.precision:
                store = fresh_store(folder / f"store-{number}-{precision}")
                for again in ("", ", again"):
                    out = folder / f"run-{number}-{precision}{again[2:]}"
                    found[precision + again] = run_imclass(arguments, precision, out, store)
            for name, (took, accuracy) in found.items():
                seconds.setdefault(name, []).append(took)
                print(f"round {number + 1}: {name:12} {took:7.1f} s, accuracy {100 * accuracy:.2f}%", flush=True)
    base = statistics.median(seconds[PLAIN])
    for precision in arguments.precision:
        first, second = (statistics.median(seconds[precision + which]) for which in ("", ", again"))
        print(f"{precision}: first run / plain script {first / base:.2f}, second run / first run {second / first:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == [PLAIN]:
        print(run_plain_script(*sys.argv[2:]))
    else:
        main()
