"""The rows of an evaluation as text for a terminal, and as the record that `--json` prints."""
# Tested in tests/app/verbs/test_evaluate.py

from collections.abc import Mapping, Sequence
from typing import Any

from imclass.app.text import evaluation as tables
from imclass.core.codec import to_json
from imclass.core.text import columns, padded, printable
from imclass.evaluation.request import AS_TRAINED
from imclass.evaluation.results import Row


def record(rows: Sequence[Row], changed: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return the last row as JSON, all rows in short, and the images that rank differently."""
    last = rows[-1]
    known = tables.record(last.evaluation) | {
        "data": last.facts.said,
        "protocol": last.facts.tested.protocol or AS_TRAINED,
        "rows": [{"name": r.name} | tables.short_record(r.evaluation) | to_json(r.facts) for r in rows],
    }
    return known if changed is None else known | {"changed": changed}


def text(rows: Sequence[Row], changed: Sequence[Mapping[str, Any]] | None = None) -> str:
    """Return the rows below each other, the last in full, and the images that rank differently."""
    last = rows[-1].evaluation
    parts = tables.in_full(last)
    if len(rows) > 1:
        parts = [row_table(rows), f"{printable(rows[-1].name)}:", *parts]
    if changed is not None:
        parts.append("rank of an image's class in the first row -> in the last")
        parts[-1] += "".join(f"\n{m['before']:>6} -> {m['after']:<6} {printable(m['image'])}" for m in changed)
    return "\n\n".join(parts)


def row_table(rows: Sequence[Row]) -> str:
    """Return each row's measures on a line: accuracies with Wilson's 95 % interval, or mean average precision."""
    names = [printable(row.name) for row in rows]
    wide = max(map(columns, names))
    pairs = zip(names, rows, strict=True)
    return "\n".join(f"{padded(name, wide)}  {tables.headline(row.evaluation)}" for name, row in pairs)
