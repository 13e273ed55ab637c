"""Set-up of the tests of the command line."""

import pytest

from imclass.app.runs import estimate


@pytest.fixture(autouse=True)
def few_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimate runs from one call with two images, because nearly all commands here are dry runs."""
    monkeypatch.setattr(estimate, "SIZES", (2,))
    monkeypatch.setattr(estimate, "LIMIT", 1e-9)
