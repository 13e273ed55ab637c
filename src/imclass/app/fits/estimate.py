"""What a dry run of a pipeline's fit prints: the configuration, and how much there is to do."""
# Tested in tests/app/fits/test_fit.py

import json
from typing import Any

from imclass.app.fits.prepare import FitRun


def dry_fit_parts(record: dict[str, Any], fit: FitRun) -> tuple[dict[str, Any], str]:
    """Return the configuration and the number of images of each split, as a record and as text."""
    images = {name: len(split) for name, split in fit.job.splits.items()}
    counts = ", ".join(f"{count:,} in {name}" for name, count in images.items())
    text = f"{json.dumps(record, indent=2)}\n\nimages to encode: {counts}. Time and memory are not estimated."
    return record | {"images": images}, text
