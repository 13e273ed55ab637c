"""Train in child processes that are killed at random moments, resume, and compare with an uninterrupted run.

    python tests/support/kill_trials.py FOLDER TRIALS OPTIMISER MEMORY WORKERS PRECISION

OPTIMISER is sgd, adam, chain, averaged or finetune. A chain has two legs with different networks, sizes and optimisers,
each with its best weights. With averaged, the legs of the chain also mix images, smooth labels and average weights.
With finetune, the last layer is fitted first, and some runs are killed in that leg. The output is a JSON object with
the digests of the uninterrupted run, of a run with another seed, and of each run that was killed. This is a separate
program, so that the children fork from a process in which torch has not computed anything yet.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401  imported here once, instead of in each child
import torch.utils.tensorboard

from imclass.app.api import train
from imclass.core.config import CrossEntropy, Execution, Model, Stage, Training
from imclass.core.model_file import read_model, tensors_digest
from imclass.core.preprocess import Preprocess
from imclass.data.augment.crop import Crop
from imclass.data.augment.cutmix import CutMix
from imclass.data.augment.flip import Flip
from imclass.data.augment.mixup import Mixup
from imclass.data.augment.pad import Pad
from imclass.data.augment.pca_colour import PcaColour
from imclass.recipes.finetune import finetune
from imclass.training.averages.ema import ExponentialAverage
from imclass.training.averages.swa import StochasticAverage
from imclass.training.optimisers.adam import Adam
from imclass.training.optimisers.sgd import SGD
from imclass.training.schedules.cosine import Cosine


def config(data: Path, optimiser: str, seed: int, precision: Any, memory: int) -> Training:
    """Return the config of a small LeNet with dropout and augmentation, in a chain followed by a narrow VGG.

    For finetune, that LeNet begins from random weights. The recipe's crops are taken from the files in each epoch, so
    they give way to others if the views are to be kept in memory.
    """
    stage = Stage(
        epochs=3,
        batch=8,
        micro_batches=2,
        optimiser=Adam(weight_decay=1e-3) if optimiser == "adam" else SGD(weight_decay=1e-3),
        schedule=Cosine(rate=1e-3 if optimiser == "adam" else 0.02, warmup=3),
        augment=(Flip(), Pad(pixels=2)),
    )
    model = Model("lenet-5", {"dropout": 0.5}, (0.5,), (0.25,))
    preprocess = Preprocess(28, "rgb", "squash")
    base = Training("kill", model, (stage,), preprocess, str(data), seed=seed, precision=precision)
    if optimiser == "finetune":
        recipe = finetune(str(data), init="", epochs=3)
        probe, whole = recipe.stages[0], replace(recipe.stages[1], batch=8, micro_batches=2)
        whole = replace(whole, schedule=Cosine(rate=1e-3, warmup=3))  # the recipe's rate is too high for these photos
        whole = replace(whole, augment=stage.augment) if memory else whole
        return replace(base, stages=(probe, whole), validation=recipe.validation)
    if optimiser not in ("chain", "averaged"):
        return base
    deeper = Model("vgg-bn-drop", {"widths": (8, 8, 8, 8, 8), "hidden": 8}, (0.5,), (0.25,))
    second = replace(stage, model=deeper, preprocess=Preprocess(32, "rgb", "squash"), begin="fresh", epochs=2)
    stages = (replace(stage, epochs=2), replace(second, optimiser=Adam(), schedule=Cosine(rate=1e-3), micro_batches=3))
    if optimiser == "averaged":
        jitter = (Crop(shorter=(34.0, 44.0)), Flip(), PcaColour())  # crops are taken from the files in each epoch
        mixing = (*(stage.augment if memory else jitter), Mixup(), CutMix())
        mixed = [replace(s, augment=mixing, objective=CrossEntropy(smoothing=0.1)) for s in stages]
        stages = (replace(mixed[0], average=ExponentialAverage(0.9)), replace(mixed[1], average=StochasticAverage(0.5)))
    return replace(base, stages=stages, validation=0.25)


def start(configured: Training, out: Path, how: Execution) -> int:
    """Start a child process that trains, and return its id."""
    child = os.fork()
    if child:
        return child
    try:
        for _ in train(configured, out, store=out.with_suffix(".store"), **asdict(how)):
            pass
        os._exit(0)
    finally:
        os._exit(1)


def finish(configured: Training, out: Path, how: Execution) -> str:
    """Train to the end in a child process; return the digests of the model, and of all scores and pictures."""
    _, status = os.waitpid(start(configured, out, how), 0)
    assert status == 0, status
    return f"{tensors_digest(read_model(out / 'model.safetensors')[0])} {keepsakes(out)}"


def keepsakes(out: Path) -> str:
    """Return the SHA-256 over names and bytes of the scores and pictures of a run."""
    total = hashlib.sha256()
    kept = [*out.rglob("scores/[!.]*"), *out.glob("pictures/[!.]*")]  # without what a killed process had begun to write
    assert len(kept) > 2, kept
    for path in sorted(kept):
        total.update(f"{path.relative_to(out)}\0".encode() + path.read_bytes())
    return total.hexdigest()


def kill_training(
    configured: Training, out: Path, how: Execution, steps: int, solving: float, generator: random.Random
) -> bool:
    """Train in a child process and kill it at a random moment; return whether it was running.

    The moment is a random step, observed on disk, and a random fraction of the time that a step takes, so that kills
    are spread over the whole run on a machine under any load. If the run begins with a solver, whose step takes
    `solving` seconds, every other kill is within that step.
    """
    child = start(configured, out, how)
    step = 0 if solving and generator.random() < 0.5 else generator.randint(1, steps)
    began = time.monotonic()
    while not (out / "config.json").exists() or newest_step(out) < step:
        if time.monotonic() - began > 100:
            break
        time.sleep(0.001)
    time.sleep(generator.uniform(0, (time.monotonic() - began) / step if step else solving))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and not (out / "model.safetensors").exists()


def newest_step(out: Path) -> int:
    """Return the step of the newest checkpoint, complete or not."""
    names = [path.name for path in (out / "checkpoints").glob("*step-*")]
    return max((int(name.partition("step-")[2][:10]) for name in names), default=0)


def solving_seconds(out: Path) -> float:
    """Return the seconds between the beginning of a run and the end of its first leg, or 0 if that has no solver."""
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    if not any(event["event"] == "solved" for event in events):
        return 0.0
    return (out / "legs" / "01-probe" / "model.safetensors").stat().st_mtime - (out / "config.json").stat().st_mtime


def main(folder: Path, trials: int, optimiser: str, memory: int, workers: int, precision: str) -> dict[str, Any]:
    """Run all trials and return their digests."""
    data, runs, generator = folder / "data", folder / "runs", random.Random(f"{optimiser} {memory} {workers}")
    how = Execution(workers=workers, memory=memory, save_every=0, keep_checkpoints=True)  # it saves after every step
    configured = config(data, optimiser, 0, precision, memory)
    whole = finish(configured, runs / "whole", how)
    last = newest_step(runs / "whole")
    solving = solving_seconds(runs / "whole")
    other = finish(config(data, optimiser, 1, precision, memory), runs / "other", how)
    found: list[str] = []
    steps: list[str] = []
    for n in range(10 * trials):
        if len(found) == trials:
            break
        out = runs / f"killed-{n}"
        if kill_training(configured, out, how, last, solving, generator):
            checkpoints = sorted((out / "checkpoints").glob("step-*"))
            steps.append(checkpoints[-1].name if checkpoints else "none")
            found.append(finish(configured, out, how))
    return {"whole": whole, "other": other, "killed": found, "went on from": steps}


if __name__ == "__main__":
    torch.set_num_threads(1)
    place, count, kind, mebibytes, threads, numbers = sys.argv[1:]
    print(json.dumps(main(Path(place), int(count), kind, int(mebibytes), int(threads), numbers)))
