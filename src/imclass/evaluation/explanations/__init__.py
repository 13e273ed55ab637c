"""Explanations of a network's scores, one file per method."""
