"""Contracts, names, formats and randomness, on which all other rooms build. This room imports none of them."""
