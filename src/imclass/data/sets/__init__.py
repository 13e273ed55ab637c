"""One file a data set; each exposes a table `DATASETS`, found by scanning this folder."""
