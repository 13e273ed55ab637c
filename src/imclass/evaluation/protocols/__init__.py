"""Test protocols, one file per family."""
