"""Networks. Each file defines the networks of one paper in a table `NETS`, which is found by scanning this folder."""
