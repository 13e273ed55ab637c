"""Kinds of optimiser, one file for each with a table `OPTIMISERS`."""
