"""Content hashes of images (the first 64 bits of their SHA-256), and digests of splits, computed from the hashes."""

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt64

from imclass.core.contracts import Dataset
from imclass.core.errors import BadImage
from imclass.core.text import nfc_form
from imclass.data.images.decode import hash_of
from imclass.data.threads import map_in_order
from imclass.store.digests import Digests, Stamp, is_settled, real_stamps

THREADS = 4  # reading waits for the disk, and hashing releases the GIL
BLOCK_FILES = 8192  # files whose stamps and digests are in memory at the same time
SINGLE_THREAD_FILES = 256  # for up to this many files, starting threads costs more time than it saves


def contents_of_files(paths: Iterable[Path | str], kept: Digests) -> UInt64[np.ndarray, "N"]:
    """Return the first 64 bits of each file's SHA-256. If a file cannot be read, its refusal code is hashed instead.

    A file whose digest is in `kept` is not read. After each block of files, the new digests that may be kept are added
    to `kept`. This bounds the memory, and little has to be read again if the process is killed.
    """
    rest = iter(paths)
    blocks = iter(lambda: list(itertools.islice(rest, BLOCK_FILES)), [])
    return np.concatenate([np.zeros(0, np.uint64), *(contents_of_block(block, kept) for block in blocks)])


def contents_of_block(paths: Sequence[Path | str], kept: Digests) -> UInt64[np.ndarray, "N"]:
    """Return the result of `contents_of_files` for a single block of files."""
    stamps = real_stamps(paths)
    found = kept.read(stamps)
    unread = {stamp: path for stamp, path in zip(stamps, paths, strict=True) if stamp not in found}
    lasting: dict[Stamp, bytes] = {}
    threads = THREADS if len(unread) > SINGLE_THREAD_FILES else 0
    try:
        for stamp, digest, settled in map_in_order(hash_file, unread.items(), threads, ahead=4 * THREADS):
            found[stamp] = digest
            if settled:
                lasting[stamp] = digest
    finally:
        # Digests are kept even if reading is interrupted, so that the next process has less to read.
        kept.write(lasting)
    return digest_words(found[stamp] for stamp in stamps)


def hash_file(file: tuple[Stamp, Path | str]) -> tuple[Stamp, bytes, bool]:
    """Return a file's stamp, its SHA-256, and whether the digest may be kept.

    If the file cannot be read, its refusal code is hashed instead.
    """
    stamp, path = file
    try:
        digest = hash_of(Path(path))
    except BadImage as refused:
        return stamp, hashlib.sha256(refused.code.encode()).digest(), False
    return stamp, digest, is_settled(stamp, path)


def contents_of_array(array: UInt8[np.ndarray, "N H W C"]) -> UInt64[np.ndarray, "N"]:
    """Hash each image's pixels in row-major order with SHA-256. Return the first 64 bits of each digest."""
    return digest_words(hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in array)


def digest_words(digests: Iterable[bytes]) -> UInt64[np.ndarray, "N"]:
    """Return the first 64 bits of each digest as an integer."""
    return np.frombuffer(b"".join(digest[:8] for digest in digests), ">u8").astype(np.uint64)


def digest_of(dataset: Dataset) -> str:
    """Return the SHA-256 of a split's image names, classes and content hashes, sorted by image name."""
    names = [nfc_form(dataset.name(i)) for i in range(len(dataset))]
    classes = dataset.targets.label_texts(dataset.classes)
    total = hashlib.sha256()
    for name, label, content in sorted(zip(names, classes, dataset.contents().tolist(), strict=True)):
        total.update(f"{name}\0{label}\0{content:016x}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


# The content hashes that mean "no content": that of an empty file, and those of files refused with the codes below.
UNREADABLE_CONTENTS = digest_words(
    hashlib.sha256(code).digest() for code in (b"", b"missing", b"unreadable", b"not-a-file")
)
