"""Run directories: begun, trained in, watched, gone on with."""
