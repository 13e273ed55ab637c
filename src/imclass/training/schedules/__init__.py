"""Kinds of learning-rate schedule, one file for each with a table `SCHEDULES`."""
