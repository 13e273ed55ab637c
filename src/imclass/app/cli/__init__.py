"""The command line: parse the arguments, run the verb, and print any error as one message."""
