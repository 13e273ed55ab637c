"""The arguments of the verb `benchmark`."""
# Tested in tests/app/verbs/test_benchmark.py

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from imclass.app.cli.syntax import Arg, CommonArguments


@dataclass(frozen=True)
class BenchmarkArguments:
    """Train several recipes on the same data, and compare their accuracies and training times. An entry is a recipe
    with its options in one pair of quotes, and may have a name:

        benchmark folder-fisher "folder --epochs 10" --data DIR
        benchmark "nin=folder --model.network nin-cifar" --data DIR

    All entries are checked before the first is trained, and must have the same test images. Each is a run in OUT/NAME.
    Run the same command again to resume: finished entries are not trained again, and an entry that was stopped goes on.
    Every entry computes its features itself, so the times do not depend on earlier runs. The table, its Markdown
    in OUT/benchmark.md and the picture OUT/benchmark.png show each accuracy with a 95% Wilson interval, and its
    difference from the best with McNemar's exact test."""

    entries: Annotated[tuple[str, ...], Arg("ENTRY ...", positional=True, pairs=True)]
    """Recipes with their options, or folders of finished runs. NAME=ENTRY gives an entry a name, which is otherwise
    that of the recipe or the folder."""
    data: Annotated[Path | None, Arg("NAME|PATH", "the recipe's")] = None
    """Data set, folder, CSV file or list."""
    out: Annotated[Path, Arg("DIR")] = Path("runs/benchmark")
    """Folder of the benchmark, with a run for each entry."""
    common: CommonArguments = CommonArguments()
