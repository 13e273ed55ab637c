"""The verbs of the command line, one file each: `run(arguments)` does it and returns the answer."""
