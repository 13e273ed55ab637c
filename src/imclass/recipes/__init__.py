"""Recipes: functions that each return a complete config. Each file has a `RECIPES` table with one family."""
