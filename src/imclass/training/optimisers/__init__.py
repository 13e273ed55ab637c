"""Kinds of optimiser, a file each; each file exposes a table `OPTIMISERS`."""
