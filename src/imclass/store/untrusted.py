"""Limits for files from elsewhere: how far they may unpack, and what reading a damaged one raises."""
# Tested in tests/store/test_archive_members.py
# Tested in tests/models/foreign/test_readers.py

import lzma
import struct
import zipfile
import zlib

RATIO = 200  # an archive may unpack to so many times its own size ...
GRACE = 16 << 20  # ... beyond these first bytes
DAMAGE = (
    OSError, EOFError, ValueError, OverflowError, MemoryError, NotImplementedError, struct.error,
    zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip
