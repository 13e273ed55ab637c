"""One file per data set. Each exposes a `DATASETS` table, which is found by scanning this folder."""
