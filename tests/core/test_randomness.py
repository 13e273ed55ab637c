"""The hash equals a plain-integer reference, is uniform, and depends on (seed, epoch, id, repeat, stream) alone."""

import hashlib

import numpy as np
import pytest
from scipy import stats

from imclass.core.randomness import Draws, mix, part_seed

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
GOLDEN_ORDER = [10125625598783725936, 17304645940823019065, 10377222394271643028]
GOLDEN_EPOCH = [6, 5, 7, 3, 4, 0, 2, 1]
GOLDEN_STEP = 8_624_490_603_629_948_942
IDS = np.arange(20_000, dtype=np.int64)


def reference_mix(z: int) -> int:
    """Apply SplitMix64's finaliser to a plain integer."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def reference_bits(seed: int, epoch: int, sample: int, repeat: int, stream: str) -> int:
    """Compute `Draws.bits` of one sample in plain integers."""
    state = 0
    for word in (int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little"), seed, epoch, repeat):
        state = reference_mix(state + GOLDEN + word & MASK)
    return reference_mix(reference_mix(state + GOLDEN + sample & MASK) + GOLDEN & MASK)


def test_the_mixer_is_splitmix64() -> None:
    state = np.arange(1, 4, dtype=np.uint64) * np.uint64(GOLDEN)
    # The first outputs of SplitMix64 from seed 0, as published with the generator.
    assert [hex(v) for v in mix(state).tolist()] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
@pytest.mark.parametrize(("epoch", "repeat", "stream"), [(0, 0, "order"), (7, 2, "flip"), (2**31, 0, "é")])
def test_bits_equal_the_reference(seed: int, epoch: int, repeat: int, stream: str) -> None:
    ids = np.array([0, 1, 2, 49_999, 2**62, 2**63 - 1], np.int64)
    expected = [reference_bits(seed, epoch, sample, repeat, stream) for sample in ids.tolist()]
    assert Draws(seed, epoch).bits(ids, stream, repeat).tolist() == expected


def test_golden_values_are_unchanged() -> None:
    """Guard recorded runs, which could not be repeated if these values changed without a new format number."""
    assert Draws(0).bits(np.arange(3), "order").tolist() == GOLDEN_ORDER
    assert Draws(0, 0).order(np.arange(8)).tolist() == GOLDEN_EPOCH
    assert part_seed(0, 0, 0) == GOLDEN_STEP


def test_uniform_fills_the_unit_interval_evenly() -> None:
    values = Draws(0).uniform(IDS, "flip")
    assert values.min() >= 0 and values.max() < 1
    counts = np.histogram(values, 50, (0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-4
    assert stats.chisquare(np.histogram(values**1.1, 50, (0, 1))[0]).pvalue < 1e-4  # the test detects a slight slope


@pytest.mark.parametrize("other", [(1, 0, 0, "flip"), (0, 1, 0, "flip"), (0, 0, 1, "flip"), (0, 0, 0, "crop")])
def test_each_word_of_the_counter_makes_another_stream(other: tuple[int, int, int, str]) -> None:
    seed, epoch, repeat, stream = other
    first, second = Draws(0).uniform(IDS, "flip"), Draws(seed, epoch).uniform(IDS, stream, repeat)
    assert not np.any(first == second)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(IDS))


def test_neighbouring_ids_are_uncorrelated() -> None:
    values = Draws(0).uniform(IDS, "flip")
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 4 / np.sqrt(len(IDS))


def test_every_bit_is_fair() -> None:
    bits = np.unpackbits(Draws(0, 0).bits(IDS, "flip").view(np.uint8).reshape(-1, 8), axis=1)
    assert np.all(np.abs(bits.mean(0) - 0.5) < 5 * 0.5 / np.sqrt(len(IDS)))


def test_a_samples_draws_do_not_depend_on_other_samples() -> None:
    shuffled = np.random.default_rng(0).permutation(IDS)
    np.testing.assert_array_equal(Draws(3, 1).bits(shuffled, "flip"), Draws(3, 1).bits(IDS, "flip")[shuffled])
    np.testing.assert_array_equal(Draws(3, 1).bits(IDS[::7], "flip"), Draws(3, 1).bits(IDS, "flip")[::7])


def test_order_is_a_permutation_that_changes_with_the_epoch() -> None:
    first, second = Draws(0, 0).order(IDS), Draws(0, 1).order(IDS)
    assert sorted(first.tolist()) == IDS.tolist()
    assert first.tolist() != second.tolist()
    assert abs(np.corrcoef(first, np.arange(len(IDS)))[0, 1]) < 4 / np.sqrt(len(IDS))


def test_leaving_samples_out_does_not_move_the_others() -> None:
    kept = IDS[IDS % 5 != 0]
    full = IDS[Draws(4, 2).order(IDS)]
    assert kept[Draws(4, 2).order(kept)].tolist() == full[full % 5 != 0].tolist()
    stateful = np.random.default_rng(4).permutation(len(kept))  # as a generator with a state would draw
    assert kept[stateful].tolist() != full[full % 5 != 0].tolist()


def test_part_seeds_are_distinct_and_valid_for_torch() -> None:
    seeds = {part_seed(seed, step, part) for seed in range(3) for step in range(50) for part in range(4)}
    assert len(seeds) == 600
    assert all(0 <= seed < 2**63 for seed in seeds)
