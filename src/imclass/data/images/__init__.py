"""Image files: parsers for their containers, and the only decoding function."""
