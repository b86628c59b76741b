"""Modes of files that bind root, too: a test of them then says the same for every user.

The user stays who it is: a folder that is the caller's alone, as most temporary ones are, can still be entered.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION_3 = 0x20080522  # of the two structures below: capset(2)
_PASSES_OVER_MODES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: capabilities(7)
_C = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("thread", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


@contextmanager
def that_bind() -> Iterator[None]:
    """Modes of files and folders hold for this thread and for threads that it starts meanwhile.

    They do not for programs: Linux gives one that root starts all rights again.
    """
    before = _call("capget", (_Sets * 2)())
    less = (_Sets * 2).from_buffer_copy(before)
    less[0].effective &= ~_PASSES_OVER_MODES
    _call("capset", less)
    try:
        yield
    finally:
        _call("capset", before)


def _call(name: str, sets: ctypes.Array[_Sets]) -> ctypes.Array[_Sets]:
    if getattr(_C, name)(ctypes.byref(_Header(_VERSION_3, 0)), sets):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return sets
