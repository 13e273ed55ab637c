"""Evaluation as a value: what is asked, the result with what can be made of it, and two models compared."""
