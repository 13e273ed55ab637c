"""The verb `compare`: two models or saved scores on the same images, and whether the difference could be chance."""

from dataclasses import asdict, replace
from typing import Any

from imclass.app.cli.answer import Told, tell
from imclass.app.cli.arguments import Compare, Evaluate
from imclass.app.cli.checks import context_of
from imclass.app.text.evaluation import bracketed
from imclass.app.verbs.evaluate import check, perform, requested
from imclass.core.codec import to_json
from imclass.core.errors import UserError, need
from imclass.core.text import columns, padded, percent, printable
from imclass.evaluation.measures.comparison import CHANCE, Change, Comparison, Judged, changes, compare, pair
from imclass.evaluation.measures.intervals import wilson
from imclass.evaluation.results import Row

BOTH = "imclass evaluate A B --weights none shows the average precision of both"


def compared(own: Compare) -> Told | None:
    """Score what has to be scored, then compare by image. Under torchrun only the first process tells."""
    need(own.list >= 0, "list", own.list, "0 or more images")
    if own.protocol is not None and "," in own.protocol:
        raise UserError(f"--protocol {own.protocol} names several; a comparison is under one")
    asked = Evaluate(
        models=(own.a, own.b),
        data=own.data,
        split=own.split,
        protocol=own.protocol,
        weights="none",
        classes=own.classes,
        batch=own.batch,
        device=own.device,
        workers=own.workers,
        common=own.common,
    )
    context = context_of(own.common)
    check(asked, context)
    request = replace(requested(asked, context), of_one_label={"a comparison": BOTH})
    result = perform(request, context, own.device)
    if result is None:
        return None
    rows = {row.name: row for row in result.rows}
    a, b = (rows[str(path)] for path in (own.a, own.b))
    pairs = pair(*(Judged(row.name, row.evaluation, row.images) for row in (a, b)))
    found, moved = compare(pairs), changes(pairs, own.list)
    refused = bool(a.evaluation.refused or b.evaluation.refused)
    return Told(record(a, b, found, moved), text(a, b, found, moved), refused)


def record(a: Row, b: Row, found: Comparison, moved: tuple[Change, ...]) -> dict[str, Any]:
    """The comparison as JSON: accuracies in [0, 1], the difference B's less A's."""
    sides = {side: {"name": row.name, **to_json(row.facts)} for side, row in (("a", a), ("b", b))}
    said = {"could_be_chance": found.chance, "changed": [asdict(change) for change in moved]}
    return sides | to_json(found) | said


def text(a: Row, b: Row, found: Comparison, moved: tuple[Change, ...]) -> str:
    """Both accuracies, their difference with its interval, the test, a verdict, and images seen differently."""
    difference, low, high = (100 * share + 0.0 for share in (found.difference, *found.interval))  # no "-0.00"
    lines = [
        *sides(a, b, found),
        *joined(a, b, found),
        f"B less A: {difference:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f} (paired bootstrap)",
        f"right in both {found.both_right:,}, in A alone {found.a_alone_right:,}, in B alone {found.b_alone_right:,}, "
        f"in neither {found.both_wrong:,}",
        f"McNemar's exact test: {p_value(found.p_value)}. {verdict(found)}",
        "It tells of these two on these images, not of other runs of their recipes.",
    ]
    return "\n".join([*lines, *listing(found, moved)])


def sides(a: Row, b: Row, found: Comparison) -> list[str]:
    """A line each: name, and accuracy on the common images with Wilson's interval."""
    names = [printable(f"{side}  {row.name} ({row.facts.tested.method})") for side, row in (("A", a), ("B", b))]
    wide, n = max(map(columns, names)), found.images
    return [
        f"{padded(name, wide)}  top-1 {percent(top1)} {bracketed(wilson(round(top1 * n), n))}"
        for name, top1 in zip(names, (found.top1_a, found.top1_b), strict=True)
    ]


def joined(a: Row, b: Row, found: Comparison) -> list[str]:
    """Which images were compared, what was left out, and a note where the two were not scored on the same data."""
    alone = [f"{n:,} only in {side}" for n, side in ((found.only_a, "A"), (found.only_b, "B")) if n]
    left_out = f"; left out: {', '.join(alone)}" if alone else ""
    lines = [f"{found.images:,} images in both, joined by name and class{left_out}"]
    if a.facts.said != b.facts.said:
        lines.append(printable(f"A was scored on {a.facts.said}, B on {b.facts.said}"))
    return lines


def p_value(p: float) -> str:
    """A p-value as text."""
    return f"p = {p:.4f}" if p >= 0.0001 else "p < 0.0001"


def verdict(found: Comparison) -> str:
    """Plainly whether the difference could be chance."""
    if found.chance:
        return f"The difference could be chance (p is not below {CHANCE})."
    better = "B" if found.difference > 0 else "A"
    return f"{better} is better, and chance is an unlikely reason (p is below {CHANCE})."


def listing(found: Comparison, moved: tuple[Change, ...]) -> list[str]:
    """The images whose class has another rank, or whose prediction differs, as far as they were asked for."""
    if not moved:
        return []
    head = (
        f"another prediction for {found.predictions_changed:,} images, another rank of the class for "
        f"{found.ranks_changed:,}; ranks in A and B, class: predictions of A and B, image:"
    )
    return ["", head, *(
        printable(f"{c.rank_a:>5} {c.rank_b:>5}  {c.label}: {c.predicted_a}, {c.predicted_b}  {c.image}") for c in moved
    )]  # fmt: skip


def run(own: Compare) -> int:
    """Say whether one of two models is better on the same images."""
    return tell(compared(own), own.common)
