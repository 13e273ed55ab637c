"""An estimate of the time, memory and disk space of a pipeline's fit, from a few images."""
# Tested in tests/app/fits/test_fit.py

import json
from typing import Any

from imclass.app.fits.prepare import FitRun


def dry_fit_parts(fit: FitRun) -> tuple[dict[str, Any], str]:
    """Return the configuration and the estimate for a run, as a record and as text."""
    return fit.record, json.dumps(fit.record, indent=2)
