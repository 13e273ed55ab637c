"""Weights of other libraries: the published files, their readers, fitting, import and export."""
