"""The work of `imclass data` and `imclass weights` apart from lists, which must not import PyTorch."""
