"""Series of runs on several divisions of the data: cross-validations and repeated splits."""
