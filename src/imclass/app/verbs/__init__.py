"""The verbs of the command line, one file each: `run(arguments)` does the work and returns an answer."""
