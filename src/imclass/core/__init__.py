"""Contracts, names, formats and randomness: what every other room stands on. Imports nothing above it."""
