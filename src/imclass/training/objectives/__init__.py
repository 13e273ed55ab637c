"""Objectives, each in a module with a table `OBJECTIVES`."""
