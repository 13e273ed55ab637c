"""Explanations of a network's answers for images, drawn over the images."""
