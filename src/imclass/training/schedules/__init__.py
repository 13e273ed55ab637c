"""Learning-rate schedules, each in a module with a table `SCHEDULES`."""
