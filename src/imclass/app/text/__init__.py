"""Output for a terminal: tables and summaries as plain text, and the records of `--json`."""
