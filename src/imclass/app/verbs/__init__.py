"""The verbs of the command line, one file each. In each, `run(arguments)` does the work and returns an `Answer`."""
