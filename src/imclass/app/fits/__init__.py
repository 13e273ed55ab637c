"""Runs that fit a pipeline: preparation, performance and estimate."""
