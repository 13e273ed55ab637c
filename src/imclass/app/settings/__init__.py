"""The configs of runs: how recipes and options make them, and how they are read back."""
