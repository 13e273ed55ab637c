"""One file a family of test protocols; each exposes a table `PROTOCOLS`, found by scanning this folder."""
