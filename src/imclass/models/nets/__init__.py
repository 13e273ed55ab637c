"""One file a paper; each exposes a table `NETS`, found by scanning this folder."""
