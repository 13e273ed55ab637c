"""Averages of weights, each in a module with a table `AVERAGES`."""
