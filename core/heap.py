"""The heap is kept: on Linux with glibc, freed memory stays with the process, to be used again.

By default glibc maps every large buffer anew and gives it back when it is freed. The system then clears each page of it at its
first touch, for every layer of every batch: up to half of the time of encoding images on a CPU.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3), as malloc.h numbers them
KEPT = 2**30  # bytes: larger buffers are mapped as before, and no more than this stays free at the heap's end
OLD_LIMIT = 2**25  # the largest M_MMAP_THRESHOLD that older releases of glibc take


@cache
def keep_heap() -> bool:
    """Keep freed memory, up to `KEPT` bytes. It helps from the call on; systems without glibc stay as they are.

    Returns:
        Whether the heap is kept.
    """
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):  # Windows; musl and macOS, which do not know the name
        return False
    if not libc.startswith("glibc"):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mapped = mallopt(M_MMAP_THRESHOLD, KEPT) or mallopt(M_MMAP_THRESHOLD, OLD_LIMIT)
    return bool(mapped and mallopt(M_TRIM_THRESHOLD, KEPT))
