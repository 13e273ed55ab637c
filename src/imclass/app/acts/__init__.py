"""The work of `imclass data` and `imclass weights`, except for lists, which must not import PyTorch."""
