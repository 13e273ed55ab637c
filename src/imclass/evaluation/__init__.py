"""Scoring of a split with one model or a fusion, under the papers' test protocols, and measures of the scores."""
