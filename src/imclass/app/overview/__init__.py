"""An overview of many runs: their states, results and differences, read from their folders."""
