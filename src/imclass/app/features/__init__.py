"""Features of images: their extraction, files and maps."""
