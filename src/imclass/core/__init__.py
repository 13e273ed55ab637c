"""The base of all other packages: contracts, configs, formats and random choices. This one imports none of them."""
