"""The threads of a process share one heap."""

import subprocess
import sys

import pytest

HELD = """
import ctypes, sys, threading
from imclass.app.cli.heap import share_heap
if sys.argv[1] == "shared":
    assert share_heap()
malloc = ctypes.CDLL(None).malloc
malloc.restype = ctypes.c_void_p
found = set()
def allocate():
    found.add(malloc(1000) >> 26)  # a thread's heap is aligned to 64 MB
    barrier.wait()
barrier = threading.Barrier(9)
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
barrier.wait()
print(len(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has a heap for each thread")
def test_threads_allocate_from_one_heap() -> None:
    def heaps(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", HELD, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert heaps("shared") <= 2 < heaps("apart")  # the shared heap may cross a boundary of 64 MB
