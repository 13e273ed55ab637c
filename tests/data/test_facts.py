"""The mean image is exact in any order and any arrays of images. Facts are read back unchanged, or refused."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.data.facts import mean_colour, mean_image, read_facts, write_facts

FACTS = {"0.mean": torch.rand(3, 4, 5), "1.mean": torch.rand(1, 2, 2), "colours": torch.rand(3, 3).T}


def views(n: int = 301, size: int = 9, channels: int = 3) -> np.ndarray:
    levels = np.random.default_rng(0).integers(0, 256, (n, size, size + 2, channels), np.uint8)
    levels[:, 0, 0] = 255
    return levels


@pytest.mark.parametrize("channels", [1, 3])
def test_the_mean_image_is_that_of_all_images(channels: int) -> None:
    every = views(channels=channels)
    found = mean_image(np.array_split(every, 7))
    plain = (every.astype(np.float64) / 255).mean(axis=0).transpose(2, 0, 1)
    assert found.dtype == torch.float32 and found.shape == (channels, 9, 11) and found.is_contiguous()
    assert (np.abs(found.numpy() - plain) <= 2**-23 * plain).all() and (found[:, 0, 0] == 1).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_mean_colour_is_that_of_all_pixels(channels: int) -> None:
    every = views(channels=channels)
    found = mean_colour(np.array_split(every, 7))
    plain = (every.astype(np.float64) / 255).mean(axis=(0, 1, 2))
    assert found.dtype == torch.float32 and found.shape == (channels, 1, 1)
    assert (np.abs(found.numpy().ravel() - plain) <= 2**-23 * plain).all()
    assert torch.equal(mean_colour([every[5:], every[:5]]), found)


def test_order_and_sizes_of_the_arrays_change_no_bit() -> None:
    every = views()
    first = mean_image([every])
    order = np.random.default_rng(1).permutation(len(every))
    for parts in (np.array_split(every, 301), np.array_split(every[order], 13), [every[:0], every[5:], every[:5]]):
        assert torch.equal(mean_image(iter(parts)), first)
    # The twin: a mean of means of parts, in float32, has other bits.
    means = [part.mean(axis=0, dtype=np.float32) / np.float32(255) for part in np.array_split(every, 7)]
    assert not np.array_equal(np.mean(means, axis=0).transpose(2, 0, 1), first.numpy())


def test_memory_does_not_depend_on_the_number_of_images() -> None:
    def peak(batches: int) -> int:
        def stream() -> Iterator[np.ndarray]:
            for i in range(batches):
                yield np.full((16, 32, 32, 3), i % 256, np.uint8)

        tracemalloc.start()
        mean_image(stream())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2)
    assert peak(200) < 1.2 * peak(4)


@pytest.mark.parametrize("parts", [[], [np.zeros((0, 4, 4, 3), np.uint8)]])
def test_a_mean_of_no_images_is_refused(parts: list[np.ndarray]) -> None:
    with pytest.raises(UserError, match=r"none of them can be read; .* --model\.no-mean-image"):
        mean_image(parts)


def test_facts_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "facts.safetensors"
    digest = write_facts(path, FACTS)
    assert digest == tensors_digest(FACTS)
    found = read_facts(path, digest)
    assert found.keys() == FACTS.keys() and all(torch.equal(found[name], FACTS[name]) for name in FACTS)
    assert read_facts(path, write_facts(path, {})) == {}


def test_facts_that_are_missing_damaged_or_changed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "facts.safetensors"
    with pytest.raises(UserError, match=r"facts\.safetensors, .* is missing; restore the file .* another --out"):
        read_facts(path, "0" * 64)
    digest = write_facts(path, FACTS)
    write_facts(path, FACTS | {"1.mean": FACTS["1.mean"] + 1e-6})
    with pytest.raises(UserError, match=r"facts\.safetensors has changed .*: its digest differs; .*--out"):
        read_facts(path, digest)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"facts\.safetensors is damaged .* another --out"):
        read_facts(path, digest)
