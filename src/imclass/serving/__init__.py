"""Use of trained classifiers: predictions and layer outputs."""
