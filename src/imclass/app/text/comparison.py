"""A comparison of two models as text for a terminal."""
# Tested in tests/app/verbs/test_compare.py

from imclass.app.text.columns import text_table
from imclass.app.text.evaluation import interval_text
from imclass.core.text import pad_text, percent, printable_text, text_width
from imclass.evaluation.measures.comparison import SIGNIFICANCE_LEVEL, Change, Comparison
from imclass.evaluation.measures.intervals import wilson_interval
from imclass.evaluation.request import AS_TRAINED
from imclass.evaluation.results import ResultRow


def comparison_text(a: ResultRow, b: ResultRow, found: Comparison, moved: tuple[Change, ...]) -> str:
    """Return a comparison as text: accuracies, difference, significance test, verdict, and changed images."""
    # Adding 0.0 turns -0.0 into 0.0, so that "-0.00" is never printed.
    difference, low, high = (100 * share + 0.0 for share in (found.difference, *found.interval))
    lines = [
        *accuracy_lines(a, b, found),
        *pairing_lines(a, b, found),
        f"B minus A: {difference:+.2f} points, 95% confidence interval {low:+.2f} to {high:+.2f} (paired bootstrap)",
        f"correct in both {found.both_right:,}, only in A {found.a_alone_right:,}, only in B {found.b_alone_right:,}, "
        f"in neither {found.both_wrong:,}",
        f"McNemar's exact test: {p_value(found.p_value)}. {verdict(found)}",
        "This result applies to these two models on these images, not to other runs of their recipes.",
    ]
    return "\n".join([*lines, *change_lines(found, moved)])


def accuracy_lines(a: ResultRow, b: ResultRow, found: Comparison) -> list[str]:
    """Return a line for each model: its name, and its accuracy with an interval, on the images scored by both."""
    names = [
        printable_text(f"{side}  {row.name} ({row.facts.tested.protocol or AS_TRAINED})")
        for side, row in (("A", a), ("B", b))
    ]
    wide, n = max(map(text_width, names)), found.images
    return [
        f"{pad_text(name, wide)}  top-1 {percent(top1)} {interval_text(wilson_interval(round(top1 * n), n))}"
        for name, top1 in zip(names, (found.top1_a, found.top1_b), strict=True)
    ]


def pairing_lines(a: ResultRow, b: ResultRow, found: Comparison) -> list[str]:
    """Return a line with the numbers of compared and left-out images and, if the data differs, a line that says so."""
    alone = [f"{n:,} only in {side}" for n, side in ((found.only_a, "A"), (found.only_b, "B")) if n]
    left_out = f"; left out: {', '.join(alone)}" if alone else ""
    lines = [f"{found.images:,} images in both, matched by name and class{left_out}"]
    if a.facts.scope != b.facts.scope:
        lines.append(printable_text(f"A was scored on {a.facts.scope}, B on {b.facts.scope}"))
    return lines


def p_value(p: float) -> str:
    """Return a p-value as text."""
    return f"p = {p:.4f}" if p >= 0.0001 else "p < 0.0001"


def verdict(found: Comparison) -> str:
    """Return a sentence that says whether the difference could be due to chance."""
    if found.is_chance:
        return f"The difference could be due to chance (p is not below {SIGNIFICANCE_LEVEL})."
    better = "B" if found.difference > 0 else "A"
    return f"{better} is better, and the difference is unlikely to be due to chance (p is below {SIGNIFICANCE_LEVEL})."


def change_lines(found: Comparison, moved: tuple[Change, ...]) -> list[str]:
    """Return a heading and a table of the images in `moved`, or an empty list if there are none."""
    if not moved:
        return []
    head = (
        f"The prediction changed for {found.predictions_changed:,} images, and the rank of the true class for "
        f"{found.ranks_changed:,}. The largest changes in rank:"
    )
    rows = [
        {
            "true class": printable_text(c.label),
            "A predicts": printable_text(c.predicted_a),
            "B predicts": printable_text(c.predicted_b),
            "rank in A": c.rank_a,
            "rank in B": c.rank_b,
            "image": printable_text(c.image),
        }
        for c in moved
    ]
    return ["", head, text_table(rows)]
