"""Arithmetic of networks: the choice of precision and memory layout, rounding to bf16, and the eager engine."""
