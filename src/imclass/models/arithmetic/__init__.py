"""Arithmetic of networks: the probe of precision and memory layout, bf16, and the eager engine."""
