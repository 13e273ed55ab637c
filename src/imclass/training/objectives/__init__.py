"""One file a kind of objective: each exposes a table `OBJECTIVES`."""
