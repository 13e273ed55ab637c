"""Pipelines: chains of fitted parts, features followed by a scorer."""
