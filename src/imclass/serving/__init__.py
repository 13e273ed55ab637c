"""Predictions and layer outputs of trained classifiers."""
