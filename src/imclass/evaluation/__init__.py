"""Scoring of a split with one model or several fused models, under the papers' test protocols, and its measures."""
