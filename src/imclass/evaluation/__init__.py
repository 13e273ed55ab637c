"""Scoring a split, one model or many fused, under the papers' protocols, and what is measured of it."""
