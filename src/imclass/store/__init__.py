"""The store for data and weights, downloads into it, and safe unpacking of untrusted archives."""
