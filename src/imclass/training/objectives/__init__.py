"""Kinds of objective, one file for each with a table `OBJECTIVES`."""
