"""Comparisons of two models on the same images: their rows, a paired test, and the images on which they differ."""
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
    """A comparison of two models on the images that both have scored: is B better, or could the difference be chance?

    `print(contrast)` prints what `imclass compare` prints.
    """

    a: ResultRow
    b: ResultRow
    comparison: Comparison
    pairs: Pairs = field(repr=False)
    list: int = 10  # number of changed images in `text` and `record`

    def __repr__(self) -> str:
        """Return the difference and its interval on one line."""
        found = self.comparison
        low, high = (100 * share for share in found.interval)
        return (
            f"Contrast({self.b.name} minus {self.a.name}: {100 * found.difference:+.2f} points "
            f"({low:+.2f} to {high:+.2f}), p = {found.p_value:.4g}, {found.images:,} images)"
        )

    def __str__(self) -> str:
        """Return what `imclass compare` prints."""
        return self.text()

    @property
    def changes(self) -> tuple[Change, ...]:
        """Return up to `list` images whose prediction or rank differs. The largest differences in rank come first."""
        return changes(self.pairs, self.list)

    def record(self) -> dict[str, Any]:
        """Return the comparison as a JSON record: both accuracies in [0, 1], and the difference B - A."""
        sides = {side: {"name": row.name, **to_json(row.facts)} for side, row in (("a", self.a), ("b", self.b))}
        verdict = {"could_be_chance": self.comparison.is_chance, "changed": [asdict(change) for change in self.changes]}
        return sides | to_json(self.comparison) | verdict

    def text(self) -> str:
        """Return both accuracies, their difference with its interval, the test, a verdict, and the changed images."""
        return texts.comparison_text(self.a, self.b, self.comparison, self.changes)


def contrast_rows(a: ResultRow, b: ResultRow, max_images: int) -> Contrast:
    """Compare two rows on the images they have in common. Up to `max_images` changed images are listed."""
    pairs = pair_images(*(NamedScores(row.name, row.evaluation, row.images) for row in (a, b)))
    return Contrast(a, b, compare_pairs(pairs), pairs, max_images)


def check_comparison(protocol: Any, max_images: int) -> None:
    """Raise `UserError` if several protocols are given or `max_images` is negative."""
    require(max_images >= 0, "list", max_images, "0 or more images")
    if isinstance(protocol, str) and "," in protocol:
        raise UserError(f"--protocol {protocol} names several protocols; a comparison needs exactly one")
