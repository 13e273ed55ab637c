"""Networks, one file per paper. Each file has a table `NETS`, found by scanning this folder."""
