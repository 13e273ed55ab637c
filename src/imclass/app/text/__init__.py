"""Terminal output: tables and summaries as plain text, and the records for `--json`."""
