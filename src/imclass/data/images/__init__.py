"""Image files: parsers for their containers, and the only function that decodes them."""
