"""Heaps of the C library, counted in a process of their own."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heaps a thread are glibc's")

_CODE = """
import ctypes, sys, threading
from service.allocator import one_heap
done = one_heap()
together = threading.Barrier(6)
def work():
    kept = bytearray(100_000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(6)]
[one.start() for one in threads]
[one.join() for one in threads]
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
sys.stderr.write(str(done))
"""


def heaps(**variables: str) -> tuple[int, bool]:
    """How many there are after six threads took memory at the same time, and what `one_heap` answered."""
    kept = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _CODE], env={**kept, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout.count("<heap nr="), done.stderr == "True"


def test_all_threads_share_one_heap() -> None:
    assert heaps() == (1, True)


def test_whoever_sets_the_number_of_heaps_has_it() -> None:
    number, done = heaps(MALLOC_ARENA_MAX="4")
    assert number > 1
    assert not done
