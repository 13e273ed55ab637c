"""Networks, the layers they are built from, and the tools that load, analyse, convert and apply them."""
