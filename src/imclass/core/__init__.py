"""Contracts, names, formats and randomness that every other room builds on. Imports no other room."""
