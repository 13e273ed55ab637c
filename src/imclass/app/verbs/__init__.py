"""The verbs of the command line, one file each. In each file, `run(arguments)` does the work and returns an answer."""
