"""Evaluation of models and their fusions: scoring under the papers' test protocols, and measures of the scores."""
