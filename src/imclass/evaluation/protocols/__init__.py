"""Test protocols, one file a family."""
