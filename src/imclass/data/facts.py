"""What is computed from the training images before the first step, and the file that keeps it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from imclass.core.errors import UserError
from imclass.core.files import write_file
from imclass.core.model_file import tensors_digest


def mean_image(views: Iterable[UInt8[np.ndarray, "_ H W C"]]) -> Float32[Tensor, "C H W"]:
    """Return the mean of all views, in [0, 1]. Raise `UserError` where there are none."""
    total, count = sum_views(views)
    return torch.from_numpy(np.ascontiguousarray((total / (255 * count)).transpose(2, 0, 1), np.float32))


def mean_colour(views: Iterable[UInt8[np.ndarray, "_ H W C"]]) -> Float32[Tensor, "C 1 1"]:
    """Return the mean of all pixels of all views, in [0, 1]. Raise `UserError` where there are no views."""
    total, count = sum_views(views)
    height, width, channels = total.shape
    mean = total.sum(axis=(0, 1)) / (255 * count * height * width)
    return torch.from_numpy(mean.astype(np.float32).reshape(channels, 1, 1))


def sum_views(views: Iterable[UInt8[np.ndarray, "_ H W C"]]) -> tuple[Int64[np.ndarray, "H W C"], int]:
    """Return the sum of all views and how many there are. Raise `UserError` where there are none.

    The sums are of whole numbers, so that neither the order nor the sizes of the arrays change a bit. Only one array is
    held at a time.
    """
    count, total = 0, np.zeros((0, 0, 0), np.int64)
    for some in views:
        total = some.sum(axis=0, dtype=np.int64) + (total if count else 0)
        count += len(some)
    if not count:
        raise UserError(
            "there is no mean of the training images, because none of them can be read; replace them, or give a mean "
            "with --model.mean, --model.no-mean-image and --model.no-mean-colour"
        )
    return total, count


def write_facts(path: Path, facts: Mapping[str, Float32[Tensor, "..."]]) -> str:
    """Write named tensors as one file, and return their digest."""
    write_file(path, safetensors.torch.save({name: fact.contiguous() for name, fact in facts.items()}))
    return tensors_digest(facts)


def read_facts(path: Path, digest: str) -> dict[str, Float32[Tensor, "..."]]:
    """Return the tensors that `write_facts` wrote. Raise `UserError` unless they are there and have this digest."""
    fix = "restore it from a copy, or train again into another --out"
    if not path.is_file():
        raise UserError(f"{path} is missing, which holds what the run computed from its training images; {fix}")
    try:
        facts = safetensors.torch.load(path.read_bytes())
    except Exception as error:  # safetensors has no error of its own for every kind of damage
        raise UserError(f"{path} is damaged ({error}); {fix}") from None
    if tensors_digest(facts) != digest:
        raise UserError(f"{path} is not the file that the run began with: its digest differs; {fix}")
    return facts
