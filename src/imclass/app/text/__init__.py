"""What a terminal shows: tables and summaries as plain text, and the records of `--json`."""
