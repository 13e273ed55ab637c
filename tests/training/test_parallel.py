"""The tree along which parts are added, independent of the processes that compute them and of missing parts."""

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from imclass.training.parallel import Group, SingleProcess, fold_parts, sum_blocks


def numbers(parts: int, seed: int = 0) -> dict[int, np.ndarray]:
    """Return values whose sum depends on the order of addition."""
    generator = np.random.default_rng(seed)
    scales = 10.0 ** generator.integers(-4, 5, parts)
    return {n: (generator.standard_normal(50) * scales[n]).astype(np.float32) for n in range(parts)}


def tree_sum(values: Mapping[int, np.ndarray], parts: int) -> np.ndarray:
    """Return the sum of all parts along the tree."""
    found = tree(values, 0, parts)
    assert found is not None
    return found


def tree(values: Mapping[int, np.ndarray], start: int, stop: int) -> np.ndarray | None:
    """Add a block by definition: cut it at the largest power of two below its length. Missing parts add nothing."""
    if stop - start == 1:
        return values.get(start)
    middle = start + max(2**k for k in range(20) if 2**k < stop - start)
    left, right = tree(values, start, middle), tree(values, middle, stop)
    return left + right if left is not None and right is not None else (right if left is None else left)


def share(values: Mapping[int, np.ndarray], block: range) -> dict[range, np.ndarray]:
    """Fold the parts of one process."""
    return fold_parts((n, values[n].copy() if n in values else None) for n in block)


@pytest.mark.parametrize("parts", [*range(1, 18), 31, 32, 33])
def test_any_cut_into_processes_gives_the_bits_of_the_tree(parts: int) -> None:
    values = numbers(parts)
    wanted = tree_sum(values, parts)
    for processes in range(1, min(parts, 7) + 1):
        folded: dict[range, np.ndarray] = {}
        for rank in range(processes):
            folded |= share(values, range(parts * rank // processes, parts * (rank + 1) // processes))
        total = sum_blocks(folded)
        assert total is not None and np.array_equal(total, wanted)


@pytest.mark.parametrize("missing", [(0,), (5,), (2, 3), (0, 1, 2, 3), (4, 5), (1, 3, 5)])
def test_a_missing_part_adds_nothing(missing: tuple[int, ...]) -> None:
    values = {n: value for n, value in numbers(6).items() if n not in missing}
    wanted = tree_sum(values, 6)
    for cut in range(7):
        folded = share(values, range(cut)) | share(values, range(cut, 6))
        total = sum_blocks(folded)
        assert total is not None and np.array_equal(total, wanted)


def test_the_order_matters_for_these_numbers() -> None:
    """Add one after the other, which gives other bits, as the tests above must be able to notice."""
    values = numbers(7)
    one_by_one = sum((values[n] for n in range(1, 7)), values[0])
    assert not np.array_equal(one_by_one, tree_sum(values, 7))


def test_the_sum_of_no_parts_is_none() -> None:
    assert sum_blocks({}) is None and fold_parts([(0, None), (1, None)]) == {}


@pytest.mark.parametrize("parts", [1, 2, 3, 8, 13, 64, 100])
def test_few_values_are_held_at_a_time(parts: int) -> None:
    class Counted:
        alive = 0

        def __init__(self) -> None:
            Counted.alive += 1

        def __iadd__(self, other: "Counted") -> "Counted":
            Counted.alive -= 1
            return self

    most = 0

    def stream() -> Iterator[tuple[int, Counted]]:
        nonlocal most
        for n in range(parts):
            value = Counted()
            most = max(most, Counted.alive)
            yield n, value

    fold_parts(stream())
    assert most <= np.log2(parts) + 1
    Counted.alive = 0


def test_a_single_process_computes_all_parts_and_agrees_with_itself() -> None:
    group = SingleProcess()
    assert isinstance(group, Group)
    assert group.local_parts(5) == range(5) and group.total(7) == 7 and group.agree(True, False) == (True, False)
