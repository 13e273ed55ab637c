"""Kinds of learning-rate schedule, a file each; each file exposes a table `SCHEDULES`."""
