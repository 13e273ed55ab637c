"""Recipes: functions that return a complete config. Each file contains one family and its `RECIPES` table."""
