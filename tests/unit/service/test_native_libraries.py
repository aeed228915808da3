"""Heaps of the C library and threads of BLAS, counted in a process of their own."""

import os
import platform
import subprocess
import sys

import pytest

_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heaps a thread are glibc's")
_several_cores = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="on one core BLAS has one thread anyway")

_HEAPS = """
import ctypes, sys, threading
from service.native_libraries import one_heap
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


_THREADS = """
import os, sys
from service.native_libraries import one_blas_thread
if "early" in sys.argv:
    import numpy
done = one_blas_thread()
import numpy
square = numpy.ones((500, 500))
square @ square
print(len(os.listdir("/proc/self/task")))
sys.stderr.write(str(done))
"""
# Serving itself is left out; what the command does before is not.
_COMMAND = """
import os, sys, types
sys.modules["cli.serve"] = serving = types.ModuleType("cli.serve")
serving.serve = lambda settings: print(os.environ["OPENBLAS_NUM_THREADS"], "numpy" in sys.modules)
from cli.app import main
sys.argv = ["drcap", "serve"]
main()
"""


def ran(code: str, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    kept = {
        name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS")
    }
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code, *words], env={**kept, **variables}, capture_output=True, text=True, check=True
    )


def heaps(**variables: str) -> tuple[int, bool]:
    """How many there are after six threads took memory at the same time, and what `one_heap` answered."""
    done = ran(_HEAPS, **variables)
    return done.stdout.count("<heap nr="), done.stderr == "True"


def threads(*words: str, **variables: str) -> tuple[int, bool]:
    """How many there are after a product, and what `one_blas_thread` answered."""
    done = ran(_THREADS, *words, **variables)
    return int(done.stdout), done.stderr == "True"


@_glibc
def test_all_threads_share_one_heap() -> None:
    assert heaps() == (1, True)


@_glibc
def test_whoever_sets_the_number_of_heaps_has_it() -> None:
    number, done = heaps(MALLOC_ARENA_MAX="4")
    assert number > 1
    assert not done


@_several_cores
def test_numpy_starts_no_threads() -> None:
    assert threads() == (1, True)


@_several_cores
def test_whoever_sets_the_threads_of_blas_has_them() -> None:
    assert threads(OPENBLAS_NUM_THREADS="2") == (2, False)


@_several_cores
def test_it_is_told_where_numpy_was_imported_before() -> None:
    number, done = threads("early")
    assert number > 1
    assert not done


def test_the_service_sees_to_it_before_numpy_is_imported() -> None:
    assert ran(_COMMAND).stdout.split() == ["1", "False"]
