"""Modules that define data sets. Each has a `DATASETS` table, which is found by scanning this folder."""
