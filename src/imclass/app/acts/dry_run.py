"""What a dry run prints: the configuration and, below it, an estimate of what the run needs."""
# Tested in tests/app/runs/test_estimate.py

import json
from typing import Any

from imclass.app.runs.train import Job
from imclass.app.text.estimate import estimate_text
from imclass.core.codec import to_json


def dry_run_parts(record: dict[str, Any], job: Job | None) -> tuple[dict[str, Any], str]:
    """Return the configuration and the estimate for a job, as a record and as text.

    The job is None if the run is finished. There is then nothing to estimate.
    """
    estimate = to_json(job.estimate()) if job else None
    below = estimate_text(estimate) if estimate else "The run is finished, so nothing is left to estimate."
    return record | {"estimate": estimate}, f"{json.dumps(record, indent=2)}\n\n{below}"
