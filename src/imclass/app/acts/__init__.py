"""The work of `imclass data` and `imclass weights`, except for the lists, which must not import PyTorch."""
