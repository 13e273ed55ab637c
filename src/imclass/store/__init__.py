"""The store, downloads to it, and safe unpacking of untrusted archives."""
