"""Scoring a split with one model or with many fused, under the papers' test protocols, and measuring the result."""
