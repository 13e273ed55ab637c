"""The store, downloads into it, and archives unpacked without trusting them."""
