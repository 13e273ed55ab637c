"""Chains of fitted parts: features, then a scorer."""
