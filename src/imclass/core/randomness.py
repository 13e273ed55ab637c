"""Random choices about samples, as pure functions of seed, epoch, sample and purpose.

They come from a counter-based hash in the manner of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC
2011). There is no state to save. The choices for a sample therefore do not depend on the number of workers or
processes, or on whether the run was resumed. The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood,
OOPSLA 2014), applied once for each word of the counter.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt64

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST_MULTIPLIER, SECOND_MULTIPLIER, WORD_MASK = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 2**64 - 1


def mix(z: UInt64[np.ndarray, "*any"]) -> UInt64[np.ndarray, "*any"]:
    """Apply SplitMix64's finaliser, a bijection on 64-bit words.

    Changing one input bit changes about half of the output bits.
    """
    z = (z ^ (z >> np.uint64(30))) * np.uint64(FIRST_MULTIPLIER)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(SECOND_MULTIPLIER)
    return z ^ (z >> np.uint64(31))


def mix_word(z: int) -> int:
    """Compute `mix` for one word. This is much faster than calling `mix` with an array of one word."""
    z = (z ^ (z >> 30)) * FIRST_MULTIPLIER & WORD_MASK
    z = (z ^ (z >> 27)) * SECOND_MULTIPLIER & WORD_MASK
    return z ^ (z >> 31)


@dataclass(frozen=True)
class Draws:
    """The random choices of one epoch of a run, each a function of (seed, epoch, sample, repeat, stream) alone.

    A stream names a purpose ("order", "flip", ...). `repeat` numbers the choices for one sample and one purpose.
    """

    seed: int
    epoch: int = 0  # counted over the whole run
    scope: str = ""  # prefix of every stream's name, so that two uses of the same name get different bits

    def at_epoch(self, epoch: int) -> "Draws":
        """Return the choices for another epoch."""
        return Draws(self.seed, epoch, self.scope)

    def in_scope(self, scope: str) -> "Draws":
        """Return the choices in a scope. They are independent of the choices from the same streams in other scopes."""
        return Draws(self.seed, self.epoch, f"{self.scope}{scope}.")

    def bits(self, ids: Int64[np.ndarray, "N"], stream: str, repeat: int = 0) -> UInt64[np.ndarray, "N"]:
        """Return 64 random bits for each sample. They do not depend on the order of `ids` or on earlier calls."""
        key = int.from_bytes(hashlib.sha256(f"{self.scope}{stream}".encode()).digest()[:8], "little")
        state = 0
        for word in (key, self.seed, self.epoch, repeat):
            state = mix_word((state + int(GOLDEN_GAMMA) + word) & WORD_MASK)
        return mix(mix(ids.astype(np.uint64) + np.uint64((state + int(GOLDEN_GAMMA)) & WORD_MASK)) + GOLDEN_GAMMA)

    def uniform(self, ids: Int64[np.ndarray, "N"], stream: str, repeat: int = 0) -> Float64[np.ndarray, "N"]:
        """Return a number in [0, 1) for each sample, made from the upper 53 of its 64 random bits."""
        return (self.bits(ids, stream, repeat) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def order(self, ids: Int64[np.ndarray, "N"]) -> Int64[np.ndarray, "N"]:
        """Return the order of the samples in this epoch, as positions in `ids`.

        Removing a sample does not change the order of the others.
        """
        return np.argsort(self.bits(ids, "order"), kind="stable").astype(np.int64)


def part_seed(seed: int, step: int, part: int) -> int:
    """Return the seed in [0, 2**63) for the dropout in one part of one step."""
    return int(Draws(seed, step).bits(np.array([part], np.int64), "model")[0] >> np.uint64(1))
