"""Networks, one file per paper.

Each file has a table `NETS`. The tables are found by scanning this folder.
"""
