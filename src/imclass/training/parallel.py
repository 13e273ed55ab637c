"""Division of a step among processes. The order in which its parts are added is the same for any number of processes.

Floating-point addition is not associative, so parts are always added along one binary tree over their numbers. A block
of parts is divided at the largest power of two below its length. The tree over five parts is the tree over six without
the sixth, and every aligned block whose length is a power of two is a subtree. A process can therefore fold its parts
without waiting for the other processes.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar, cast, runtime_checkable


@runtime_checkable
class Addable(Protocol):
    """A value that can be summed over parts."""

    def __iadd__(self, other: Any, /) -> Any: ...


T = TypeVar("T", bound=Addable)


@runtime_checkable
class Group(Protocol):
    """The processes of a run. All processes must call the same methods in the same order."""

    def local_parts(self, parts: int) -> range:
        """Return the numbers of the parts that this process computes in a step of `parts` parts."""
        ...

    def total(self, count: int) -> int:
        """Return the sum of all processes' counts."""
        ...

    def combine(self, folded: Mapping[range, T]) -> T | None:
        """Return the sum of all processes' parts, added along the tree, or `None` if there are no parts."""
        ...

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Return the combined flags of all processes. Each flag is set if any process has set it."""
        ...


class SingleProcess:
    """A `Group` of one process."""

    def local_parts(self, parts: int) -> range:
        return range(parts)

    def total(self, count: int) -> int:
        return count

    def combine(self, folded: Mapping[range, T]) -> T | None:
        return sum_blocks(folded)

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        return flags


def fold_parts(numbered: Iterable[tuple[int, T | None]]) -> dict[range, T]:
    """Add consecutive parts as they arrive, as far as the tree allows, and return the sums keyed by block.

    At most log2(number of parts) + 1 blocks are held. `None` stands for a part without images. Adding two blocks
    changes the value of the first one in place.
    """
    held: list[tuple[range, T | None]] = []
    for number, value in numbered:
        held.append((range(number, number + 1), value))
        while len(held) > 1 and are_halves(held[-2][0], held[-1][0]):
            right, left = held.pop(), held.pop()
            held.append((range(left[0].start, right[0].stop), add(left[1], right[1])))
    return {block: value for block, value in held if value is not None}


def are_halves(left: range, right: range) -> bool:
    """Return whether two neighbouring blocks are the halves of a subtree."""
    return len(left) == len(right) and left.start % (2 * len(left)) == 0


def sum_blocks(folded: Mapping[range, T]) -> T | None:
    """Return the sum of folded blocks, added along the tree."""

    def node(start: int, stop: int) -> T | None:
        block = folded.get(range(start, stop))
        if block is not None or stop - start <= 1:
            return block
        middle = start + (1 << (stop - start - 1).bit_length() - 1)
        return add(node(start, middle), node(middle, stop))

    return node(0, max((block.stop for block in folded), default=0))


def add(left: T | None, right: T | None) -> T | None:
    """Return the sum of two values, either of which may be missing."""
    if left is None or right is None:
        return right if left is None else left
    total: Any = left
    total += right
    return cast(T, total)
