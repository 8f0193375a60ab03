"""Memory that was let go of, given back to the system."""

import ctypes
import functools
import sys
from collections.abc import Callable


def trim() -> None:
    """Let glibc give back what lies free between blocks in use: some milliseconds; elsewhere nothing is done.

    Steps of some thousand molecules leave holes, which otherwise add up to hundreds of megabytes over a hundred steps.
    """
    _malloc_trim()(0)


@functools.cache
def _malloc_trim() -> Callable[[int], object]:
    if sys.platform == "linux":
        try:
            return ctypes.CDLL("libc.so.6").malloc_trim
        except (OSError, AttributeError):  # another C library
            pass
    return lambda pad: None
