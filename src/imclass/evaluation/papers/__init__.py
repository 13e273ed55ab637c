"""The papers' tables of results, with rows for what was measured here."""
