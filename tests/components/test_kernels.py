"""Functions as machine code."""

from types import FunctionType

import numpy as np
import pytest

from components.kernels import inlined_kernel, kernel, read_only


def _add_up(values):
    total = 0
    for value in values:
        total += value
    return total


@pytest.mark.parametrize("decorate", [kernel, inlined_kernel])
def test_a_kernel_computes_what_the_function_does(decorate):
    assert decorate(_add_up)(np.arange(5)) == _add_up(np.arange(5)) == 10


@pytest.mark.parametrize("decorate", [kernel, inlined_kernel])
def test_a_kernel_that_cannot_be_kept_on_disk_still_runs(decorate):
    """Code without a file is what numba finds no place for; a read-only image without a home is met the same way."""
    without_file = FunctionType(_add_up.__code__.replace(co_filename="<string>"), globals())
    assert decorate(without_file)(np.arange(5)) == 10


def test_a_read_only_view_leaves_the_array_as_it_is():
    array = np.zeros(3)
    view = read_only(array)
    assert not view.flags.writeable
    assert array.flags.writeable
    array[0] = 1
    assert view[0] == 1
