"""The rows of an evaluation as text for a terminal, and as the record that `--json` prints."""
# Tested in tests/app/verbs/test_evaluate.py

from collections.abc import Mapping, Sequence
from typing import Any

from imclass.app.text import evaluation as tables
from imclass.core.codec import to_json
from imclass.core.text import columns, padded, percent, printable
from imclass.evaluation.measures.intervals import wilson
from imclass.evaluation.request import AS_TRAINED
from imclass.evaluation.results import Row


def record(rows: Sequence[Row], changed: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return the last row as JSON, all rows in short, and the images that rank differently."""
    last = rows[-1]
    known = tables.record(last.evaluation) | {
        "data": last.facts.said,
        "protocol": last.facts.tested.protocol or AS_TRAINED,
        "rows": [short_record(row) for row in rows],
    }
    return known if changed is None else known | {"changed": changed}


def short_record(row: Row) -> dict[str, Any]:
    """Return a row in short, as JSON."""
    measures = row.evaluation.measures
    return {
        "name": row.name,
        "top1": measures["top1"],
        "top5": measures["top5"],
        "loss": measures["loss"],
        "top1_interval": list(interval(row)),
        **to_json(row.facts),
    }


def text(rows: Sequence[Row], changed: Sequence[Mapping[str, Any]] | None = None) -> str:
    """Return the rows below each other, the last in full, and the images that rank differently."""
    last = rows[-1].evaluation
    parts = [tables.summary(last), tables.class_table(last), tables.confusion_table(last)]
    if len(rows) > 1:
        parts = [row_table(rows), f"{printable(rows[-1].name)}:", *parts]
    if changed is not None:
        parts.append("rank of an image's class in the first row -> in the last")
        parts[-1] += "".join(f"\n{m['before']:>6} -> {m['after']:<6} {printable(m['image'])}" for m in changed)
    return "\n\n".join(parts)


def row_table(rows: Sequence[Row]) -> str:
    """Return each row's accuracies with Wilson's 95 % interval, and its cross-entropy."""
    names = [printable(row.name) for row in rows]
    wide = max(map(columns, names))
    lines = []
    for name, row in zip(names, rows, strict=True):
        measures = row.evaluation.measures
        shares = f"top-1 {percent(measures['top1'])} {tables.bracketed(interval(row))}"
        five = tables.top5(row.evaluation, ", ")
        lines.append(f"{padded(name, wide)}  {shares}{five}, {measures['loss']:.4f} nats")
    return "\n".join(lines)


def interval(row: Row) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the top-1 accuracy."""
    n = len(row.evaluation.targets)
    return wilson(round(row.evaluation.measures["top1"] * n), n)
