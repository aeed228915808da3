"""The C library's memory, of which every thread of a busy service would keep a part for itself."""

import ctypes
import os

_ARENA_MAX = -8  # of glibc's malloc.h
_VARIABLE = "MALLOC_ARENA_MAX"


def one_heap() -> bool:
    """Let all threads take memory from one heap of glibc, unless `MALLOC_ARENA_MAX` says otherwise.

    To be called before threads are. A heap a thread keeps what was freed in it: the service held 40% more under load,
    and grew for longer.

    Returns:
        whether it is so now; never where the C library is another one.
    """
    if _VARIABLE in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_ARENA_MAX, 1))
