"""Features of images as values, files and maps."""
