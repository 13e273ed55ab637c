"""The work of `imclass data` and `imclass weights`. Their lists are made elsewhere, without importing PyTorch."""
