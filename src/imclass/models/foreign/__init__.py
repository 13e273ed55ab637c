"""Weights of other libraries: the published files, their readers, the matching of tensors, import and export."""
