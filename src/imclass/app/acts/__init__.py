"""The actions of `imclass data` and `imclass weights`. Lists are made elsewhere, without importing PyTorch."""
