"""Weights of other libraries: where they are published, how they are read, fitted and converted."""
