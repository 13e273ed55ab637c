"""The papers' tables, with rows of our own."""
