"""Evaluation as values: a request, its result with everything that can be made from it, and a comparison of two."""
