"""The outcome of training, as text for a terminal."""
# Tested in tests/app/verbs/test_train.py

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from imclass.app.runs.directory import Run
from imclass.app.settings.record import read_run_record
from imclass.core.text import main_measure, measure_title, percent
from imclass.data.balance import is_uneven
from imclass.store.context import Context
from imclass.training.events import NonFinite
from imclass.training.kinds import kind_tables


def stop_message(event: NonFinite, run: Run) -> str:
    """Return a message that says why training stopped and how to continue."""
    names = ", ".join(event.names[:10])
    if len(event.names) > 10:
        names += f" and {len(event.names) - 10} more"
    stopped, fix = "training stopped", "Lower --schedule.rate, or skip such steps with --nonfinite skip"
    if run.has_work:
        stopped += f"; the checkpoints in {run.folder} are from earlier steps"
        fix += ", and choose another --out"
    return f"step {event.at.step:,}: {event.what} is not finite, so {stopped}.\nimages of this step: {names}\n{fix}"


def training_summary(record: Mapping[str, Any], uneven: Collection[str] = ()) -> str:
    """Return a line for each scored split, then the number of refused files and the path of the model file.

    The line of a split in `uneven` also contains the balanced accuracy. All lines do if it chose the weights.
    """
    lines = []
    for split, result in record["metrics"].items():
        counted, loss, main = image_counts(result), f"{result['loss']:.4f}", main_measure(result)
        entropy = "cross-entropy" if main == "top1" else "binary cross-entropy"
        chose = ", used to choose the weights" if split == record["chosen_on"] else ""
        shown = "balanced" in result and (split in uneven or measure_title("balanced") in record["chosen"])
        names = [main, *(["balanced"] if shown else [])]
        shares = ", ".join(f"{measure_title(name)} {100 * result[name]:.2f}%" for name in names)
        lines.append(f"{split}{chose}: {shares}, {entropy} {loss}; {counted}")
        if any(f"{main}_{group}" in result for group in ("old", "new")):
            lines += [f"{split}, {group} classes: {group_share_text(result, main, group)}" for group in ("old", "new")]
    refused = len(record["refused"])
    if refused:
        lines.append(f"refused in total: {refused:,} {'file' if refused == 1 else 'files'}")
    return "\n".join([*lines, f"finished: {record['model']} ({record['chosen']})"])


def uneven_splits(run: Run, context: Context) -> list[str]:
    """Return the splits of a run whose classes have very different numbers of images."""
    counts = read_run_record(run.config, kind_tables(context)).counts
    return [split for split, each in counts.items() if is_uneven(np.array(each))]


def group_share_text(metrics: Mapping[str, Any], main: str, group: str) -> str:
    """Return the main measure over the old or the new classes of a grown model, from its metrics in a model file."""
    share = metrics.get(f"{main}_{group}")
    return "no images" if share is None else f"{measure_title(main)} {percent(share)}"


def image_counts(metrics: Mapping[str, Any]) -> str:
    """Return the numbers of scored and refused images of a split, given the split's metrics in a model file."""
    evaluated, total = metrics["evaluated"], metrics["total"]
    kept = f"{evaluated:,} of {total:,} evaluated"
    return f"{kept}, {total - evaluated:,} refused" if evaluated < total else kept
