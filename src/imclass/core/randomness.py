"""Every random choice about a sample, as a pure function of where it is needed.

A counter-based hash in the manner of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): no state
to save, so worker count, process count and resume cannot change what a sample looks like. The mixing function is the
finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), applied once for each word of the counter.
"""

import hashlib

import numpy as np
from jaxtyping import Float64, Int64, UInt64

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(z: UInt64[np.ndarray, "*any"]) -> UInt64[np.ndarray, "*any"]:
    """SplitMix64's finaliser: a bijection of 64-bit words in which each input bit flips about half of the output."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def draw(seed: int, epoch: int, ids: Int64[np.ndarray, "N"], repeat: int, stream: str) -> UInt64[np.ndarray, "N"]:
    """64 random bits for each sample of `ids`, the same whoever asks and in whatever order.

    `epoch` and `repeat` tell apart the uses of a sample; `stream` names the purpose ("order", "flip", ...).
    """
    key = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")
    state = np.zeros(1, np.uint64)
    for word in (key, seed, epoch, repeat):
        state = mix(state + GOLDEN + np.uint64(word % 2**64))
    return mix(mix(state + GOLDEN + ids.astype(np.uint64)) + GOLDEN)


def uniform(seed: int, epoch: int, ids: Int64[np.ndarray, "N"], repeat: int, stream: str) -> Float64[np.ndarray, "N"]:
    """Numbers in [0, 1), one for each sample: the upper 53 bits of `draw`."""
    return (draw(seed, epoch, ids, repeat, stream) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def order(seed: int, epoch: int, ids: Int64[np.ndarray, "N"]) -> Int64[np.ndarray, "N"]:
    """Positions into `ids` in the order of this epoch; leaving a sample out does not move the others about."""
    return np.argsort(draw(seed, epoch, ids, 0, "order"), kind="stable").astype(np.int64)


def step_seed(seed: int, step: int, micro_batch: int) -> int:
    """The seed of dropout and the like for one micro-batch of one step, in [0, 2**63)."""
    return int(draw(seed, step, np.array([micro_batch], np.int64), 0, "model")[0] >> np.uint64(1))
