"""Recipes: functions that return a complete config. Each file holds one family and its table `RECIPES`."""
