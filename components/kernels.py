"""How a numeric function becomes machine code: at its first call, kept on disk where that may be written.

A kernel calls kernels of its own file only: numba's cache watches the file that a kernel stands in and no other.
"""

from collections.abc import Callable
from typing import Any

import numba


def kernel(function: Callable[..., Any]) -> Any:
    """`function` as machine code that runs without the interpreter's lock.

    Where numba finds no directory to keep it in (a read-only image without a home), each process compiles anew.
    """
    return _compiled(function, is_inlined=False)


def inlined_kernel(function: Callable[..., Any]) -> Any:
    """A kernel that becomes part of those that call it: for one called every few bytes, where a call costs most."""
    return _compiled(function, is_inlined=True)


def _compiled(function: Callable[..., Any], *, is_inlined: bool) -> Any:
    try:
        return numba.njit(cache=True, nogil=True, forceinline=is_inlined)(function)
    except RuntimeError:
        return numba.njit(nogil=True, forceinline=is_inlined)(function)


def read_only(array: Any) -> Any:
    """A view that may not be written. Arrow's memory is so, numpy's is not: one form for both compiles once."""
    view = array.view()
    view.flags.writeable = False
    return view
