"""Networks. Each file defines the networks of one paper in a table `NETS`. The tables are found by scanning this folder."""
