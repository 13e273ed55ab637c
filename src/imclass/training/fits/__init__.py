"""The fit of a pipeline: its tasks, what they encode, and their progress."""
