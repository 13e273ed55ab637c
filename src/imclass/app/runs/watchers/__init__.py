"""Consumers that write the files of a run: each takes one event at a time and can be closed."""
