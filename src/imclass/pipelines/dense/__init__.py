"""Patches on a regular grid at several scales, and weighted sums over their sub-regions."""
