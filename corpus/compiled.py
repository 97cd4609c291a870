"""How kernels are compiled: to machine code on first use, without fast-math, and kept on disk for the next process."""

import hashlib
from collections.abc import Callable
from functools import cache
from inspect import getfile
from pathlib import Path
from typing import ParamSpec, TypeVar

import numba
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def kept(function: Callable[P, R]) -> Callable[P, R]:
    """The function, for Python to call, with its machine code on disk; in memory alone where no folder is writable.

    numba notices only a change in the function's own file, not in a kernel or constant that it takes from another.
    So the machine code lies in a folder named after the sources of the function's package and of this file, beyond
    which a kernel takes nothing: any change there starts a new one.
    """
    package = Path(getfile(function)).parent
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(Path(before or package / "__pycache__") / f"{package.name}-{_sources(package)}")
    try:
        kernel: Callable[P, R] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no folder that it may write to
        kernel = numba.njit(nogil=True)(function)
    finally:
        numba.config.CACHE_DIR = before
    return kernel


def part(function: Callable[P, R]) -> Callable[P, R]:
    """The function, for other kernels to call: one that makes arrays."""
    kernel: Callable[P, R] = numba.njit(nogil=True)(function)
    return kernel


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """The function, for other kernels to call within a loop: one that makes no arrays.

    It goes without reference counts on its arguments, which the caller holds: they cost three quarters of the time.
    """
    try:
        kernel: Callable[P, R] = numba.njit(nogil=True, _nrt=False)(function)
    except KeyError:  # a release of numba without the option
        kernel = numba.njit(nogil=True)(function)
    return kernel


@inner
def whole(value: int) -> int:
    """The value as a signed 64-bit integer: of a mere 0 numba would make a type of its own, and compile for it too."""
    return int(np.int64(value))


@cache
def _sources(package: Path) -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(package.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
