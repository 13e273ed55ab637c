"""Image files: their containers and the one decode function."""
