"""Reports: one self-contained HTML page for a run or a model."""
