"""Pipelines: chains of fitted parts, in which feature extractors are followed by a scorer."""
