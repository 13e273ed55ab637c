"""The papers' tables of results, with rows for imclass's measurements."""
