"""Pipelines: chains of fitted parts, in which features are followed by a scorer."""
