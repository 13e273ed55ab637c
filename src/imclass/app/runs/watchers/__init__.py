"""What watches a run: each takes an event at a time and can be closed."""
