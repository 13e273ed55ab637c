"""Contracts, names, formats and randomness that every other room builds on. This room imports no other."""
