"""One heap for the threads of a process."""

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
    found.add(malloc(1000) >> 26)  # a thread's heap is of 64 MB
    barrier.wait()
barrier = threading.Barrier(9)
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
barrier.wait()
print(len(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has heaps for threads")
def test_threads_allocate_from_one_heap() -> None:
    def heaps(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", HELD, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert heaps("shared") <= 2 < heaps("apart")  # the one heap may lie across a border of 64 MB
