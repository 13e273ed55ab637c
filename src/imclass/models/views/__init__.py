"""Views of an image at several scales, and averages over their posteriors."""
