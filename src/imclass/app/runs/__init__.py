"""Runs of training: their configuration, preparation, directories, signals and resuming."""
