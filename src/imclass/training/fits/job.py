"""A pipeline to fit, and the result."""
# Tested in tests/training/fits/test_fitter.py

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from imclass.core.config import Fitting
from imclass.core.contracts import Dataset, Refused
from imclass.core.runtime import Runtime
from imclass.pipelines.pipeline import Pipeline
from imclass.store.context import Context
from imclass.store.row_file import StoredRows


@dataclass(frozen=True, eq=False)
class EncodedSplit:
    """The rows of the images of a split that are not refused."""

    kept: Int64[np.ndarray, "n"]  # the positions of these images in the split
    rows: StoredRows
    refused: tuple[Refused, ...]


@dataclass(frozen=True, eq=False)
class FittedPipeline:
    """A fitted pipeline, with the rows that its last part takes for each split."""

    pipeline: Pipeline
    splits: Mapping[str, EncodedSplit]


@dataclass(frozen=True, eq=False, kw_only=True)
class FitJob:
    """A pipeline to fit, and the images to fit it to."""

    config: Fitting
    pipeline: Pipeline  # its parts have not been fitted
    splits: Mapping[str, Dataset]  # train and the held-out splits
    context: Context
    runtime: Runtime
    workers: int
