"""Views of images at several scales, and averages of the views' posteriors."""
