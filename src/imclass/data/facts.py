"""Facts about the training images, such as the mean image, computed before the first step and stored in a file."""

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
    """Return the mean of all views, scaled to [0, 1]. Raise `UserError` if `views` is empty."""
    total, count = sum_views(views)
    return torch.from_numpy(np.ascontiguousarray((total / (255 * count)).transpose(2, 0, 1), np.float32))


def mean_colour(views: Iterable[UInt8[np.ndarray, "_ H W C"]]) -> Float32[Tensor, "C 1 1"]:
    """Return the mean of all pixels in all views, scaled to [0, 1]. Raise `UserError` if `views` is empty."""
    total, count = sum_views(views)
    height, width, channels = total.shape
    mean = total.sum(axis=(0, 1)) / (255 * count * height * width)
    return torch.from_numpy(mean.astype(np.float32).reshape(channels, 1, 1))


def sum_views(views: Iterable[UInt8[np.ndarray, "_ H W C"]]) -> tuple[Int64[np.ndarray, "H W C"], int]:
    """Return the sum of all views and their number. Raise `UserError` if `views` is empty.

    The sums are integers, so the result does not depend on the order or the sizes of the arrays. Only one array is in
    memory at a time.
    """
    count = 0
    total = np.zeros((0, 0, 0), np.int64)
    for array in views:
        total = array.sum(axis=0, dtype=np.int64) + (total if count else 0)
        count += len(array)
    if not count:
        raise UserError(
            "the mean of the training images cannot be computed, because none of them can be read; replace the images, "
            "or give a mean with --model.mean, --model.no-mean-image and --model.no-mean-colour"
        )
    return total, count


def write_facts(path: Path, facts: Mapping[str, Float32[Tensor, "..."]]) -> str:
    """Write named tensors to one file. Return their digest."""
    write_file(path, safetensors.torch.save({name: fact.contiguous() for name, fact in facts.items()}))
    return tensors_digest(facts)


def read_facts(path: Path, digest: str) -> dict[str, Float32[Tensor, "..."]]:
    """Return the tensors written by `write_facts`. Raise `UserError` if the file is missing, damaged or changed."""
    fix = "restore the file from a copy, or train again with another --out"
    if not path.is_file():
        raise UserError(f"{path}, which contains values computed from the training images, is missing; {fix}")
    try:
        facts = safetensors.torch.load(path.read_bytes())
    except Exception as error:  # safetensors documents no list of the errors that a damaged file raises
        raise UserError(f"{path} is damaged ({error}); {fix}") from None
    if tensors_digest(facts) != digest:
        raise UserError(f"{path} has changed since the run began: its digest differs; {fix}")
    return facts
