"""The rows of an evaluation as text for a terminal, and as the record that `--json` prints."""
# Tested in tests/app/verbs/test_evaluate.py

from collections.abc import Mapping, Sequence
from typing import Any

from imclass.app.text import evaluation as tables
from imclass.core.codec import to_json
from imclass.core.text import pad_text, printable_text, text_width
from imclass.evaluation.request import AS_TRAINED
from imclass.evaluation.results import ResultRow


def rows_record(rows: Sequence[ResultRow], changed: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return the last row in full, all rows in brief and, if given, the changed images, as JSON."""
    last = rows[-1]
    known = tables.evaluation_record(last.evaluation) | {
        "data": last.facts.scope,
        "protocol": last.facts.tested.protocol or AS_TRAINED,
        "rows": [{"name": r.name} | tables.short_record(r.evaluation) | to_json(r.facts) for r in rows],
    }
    return known if changed is None else known | {"changed": changed}


def rows_text(rows: Sequence[ResultRow], changed: Sequence[Mapping[str, Any]] | None = None) -> str:
    """Return a line for each row, the last row in full and, if given, the changed images, as text."""
    last = rows[-1].evaluation
    parts = tables.evaluation_parts(last)
    if len(rows) > 1:
        parts = [row_table(rows), f"{printable_text(rows[-1].name)}:", *parts]
    if changed is not None:
        head = "rank of the true class in the first row -> in the last row"
        lines = (f"{m['before']:>6} -> {m['after']:<6} {printable_text(m['image'])}" for m in changed)
        parts.append("\n".join([head, *lines]))
    return "\n\n".join(parts)


def row_table(rows: Sequence[ResultRow]) -> str:
    """Return a line for each row: accuracies with 95% Wilson intervals, or mean average precision, and the loss."""
    names = [printable_text(row.name) for row in rows]
    wide = max(map(text_width, names))
    pairs = zip(names, rows, strict=True)
    return "\n".join(f"{pad_text(name, wide)}  {tables.headline(row.evaluation)}" for name, row in pairs)
