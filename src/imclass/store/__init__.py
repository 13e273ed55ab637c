"""Getting files: the store, downloads, and archives unpacked without trust."""
