"""Networks, one file per paper. Each file has a table `NETS`, which a scan of this folder finds."""
