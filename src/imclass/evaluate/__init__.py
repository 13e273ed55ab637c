"""Scores to numbers: protocols, metrics, tables."""
