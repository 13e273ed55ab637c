"""Two models on the same images: their rows, the paired test, and the images that they see differently."""
# Tested in tests/app/verbs/test_compare.py

from dataclasses import asdict, dataclass, field
from typing import Any

from imclass.app.text import comparison as texts
from imclass.core.codec import to_json
from imclass.core.errors import UserError, require
from imclass.evaluation.measures.comparison import (
    Change,
    Comparison,
    NamedScores,
    Pairs,
    changes,
    compare_pairs,
    pair_images,
)
from imclass.evaluation.results import ResultRow


@dataclass(frozen=True)
class Contrast:
    """Two models on the images that both have scored: is B better than A, or could the difference be chance?

    `print(contrast)` shows what `imclass compare` prints.
    """

    a: ResultRow
    b: ResultRow
    comparison: Comparison
    pairs: Pairs = field(repr=False)
    list: int = 10  # images that `text` and `record` name

    def __repr__(self) -> str:
        """Return the difference and its interval on a line."""
        found = self.comparison
        low, high = (100 * share for share in found.interval)
        return (
            f"Contrast({self.b.name} less {self.a.name}: {100 * found.difference:+.2f} points "
            f"({low:+.2f} to {high:+.2f}), p = {found.p_value:.4g}, {found.images:,} images)"
        )

    def __str__(self) -> str:
        """Return what `imclass compare` prints."""
        return self.text()

    @property
    def changes(self) -> tuple[Change, ...]:
        """The first `list` images whose class has another rank or whose prediction differs, the largest move first."""
        return changes(self.pairs, self.list)

    def record(self) -> dict[str, Any]:
        """Return the comparison as JSON: accuracies in [0, 1], the difference B's less A's."""
        sides = {side: {"name": row.name, **to_json(row.facts)} for side, row in (("a", self.a), ("b", self.b))}
        verdict = {"could_be_chance": self.comparison.is_chance, "changed": [asdict(change) for change in self.changes]}
        return sides | to_json(self.comparison) | verdict

    def text(self) -> str:
        """Return both accuracies, their difference with its interval, the test, a verdict, and changed images."""
        return texts.comparison_text(self.a, self.b, self.comparison, self.changes)


def contrast_rows(a: ResultRow, b: ResultRow, most: int) -> Contrast:
    """Return the paired comparison of two rows."""
    pairs = pair_images(*(NamedScores(row.name, row.evaluation, row.images) for row in (a, b)))
    return Contrast(a, b, compare_pairs(pairs), pairs, most)


def check_comparison(protocol: Any, most: int) -> None:
    """Raise `UserError` for more than one protocol, and for a number of images below zero."""
    require(most >= 0, "list", most, "0 or more images")
    if isinstance(protocol, str) and "," in protocol:
        raise UserError(f"--protocol {protocol} names several; a comparison is under one")
