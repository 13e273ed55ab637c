"""The command line: words become arguments, arguments go to a verb, and mistakes become one message."""
