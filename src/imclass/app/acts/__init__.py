"""What `imclass data` and `imclass weights` do besides listing; it needs PyTorch, and the lists do not."""
