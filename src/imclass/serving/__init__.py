"""Trained classifiers put to use."""
