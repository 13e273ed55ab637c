"""Arithmetic of networks: the choice of precision and memory layout, bf16, and the eager engine."""
