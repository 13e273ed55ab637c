"""Training runs: their configuration, preparation, directories, signals and resuming."""
