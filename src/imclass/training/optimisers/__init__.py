"""Optimisers, each in a module with a table `OPTIMISERS`."""
