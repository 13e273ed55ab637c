"""Checks of the options of `train` that do not apply to pipelines."""
# Tested in tests/app/fits/test_fit.py

from imclass.core.errors import UserError


def check_fit_options(recipe: str, find_rate: bool, style: str = "bar") -> None:
    """Raise `UserError` for an option that needs a network in training."""
    if find_rate:
        raise UserError(f"--find-rate tests learning rates, but the recipe {recipe} fits a pipeline, which has none")
    if style != "bar":
        raise UserError(f"--style {style} prints epochs, but the recipe {recipe} fits a pipeline, which has none")
