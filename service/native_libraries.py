"""What the libraries beneath Python would do on their own, and a busy service has no use for."""

import ctypes
import os
import sys

_ARENA_MAX = -8  # of glibc's malloc.h
_HEAPS = "MALLOC_ARENA_MAX"
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def one_heap() -> bool:
    """Let all threads take memory from one heap of glibc, unless `MALLOC_ARENA_MAX` says otherwise.

    To be called before threads are. A heap a thread keeps what was freed in it: the service held 40% more under load,
    and grew for longer.

    Returns:
        whether it is so now; never where the C library is another one.
    """
    if _HEAPS in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_ARENA_MAX, 1))


def one_blas_thread() -> bool:
    """Let numpy multiply in the thread that asks, unless `OPENBLAS_NUM_THREADS` says otherwise.

    To be called before numpy is imported. The threads that it would start for each product of some size wait for the
    next one in a loop: they took 2% of what the models compute in.

    Returns:
        whether it is so now.
    """
    if _BLAS_THREADS in os.environ or "numpy" in sys.modules:
        return False
    os.environ[_BLAS_THREADS] = "1"
    return True
