"""One file per data set. Each exposes a table `DATASETS`, found by scanning this folder."""
