"""Reports: one HTML page for a run or a model, which needs no other file."""
