"""The command line's verbs, one file each. `run(arguments)` does the work and returns an answer."""
