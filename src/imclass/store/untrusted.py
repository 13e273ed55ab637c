"""Limits for unpacking untrusted files, and the errors that reading damaged files may raise."""
# Tested in tests/store/test_archive_members.py
# Tested in tests/models/foreign/test_readers.py

import lzma
import struct
import zipfile
import zlib

MAX_RATIO = 200  # an archive may unpack to at most this multiple of its size, plus GRACE_BYTES
GRACE_BYTES = 16 << 20  # bytes
DAMAGE_ERRORS = (
    OSError, EOFError, ValueError, OverflowError, MemoryError, NotImplementedError, struct.error,
    zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip
