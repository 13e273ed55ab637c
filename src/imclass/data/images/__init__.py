"""Image files: parsers of their containers, and the one decode function."""
