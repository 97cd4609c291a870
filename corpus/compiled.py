"""Compile numba kernels on first use, without fast-math, and cache the machine code on disk for later processes."""

import hashlib
from collections.abc import Callable
from functools import cache
from inspect import getfile
from pathlib import Path
from typing import ParamSpec, TypeVar

import numba
import numpy as np
from numba.core import event

from corpus import parse_limits

P = ParamSpec("P")
R = TypeVar("R")


def cached_jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel that Python calls. The machine code is cached on disk, or in memory if no folder is writable.

    numba recompiles only if the function's own file has changed. The cache folder is therefore named after a hash of
    this file and of all files in the function's package: a change in any of them starts a new folder. A kernel must
    not use kernels or constants from outside its package.
    """
    package = Path(getfile(function)).parent
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(Path(before or package / "__pycache__") / f"{package.name}-{_source_hash(package)}")
    try:
        kernel: Callable[P, R] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no folder that it may write to
        kernel = numba.njit(nogil=True)(function)
    finally:
        numba.config.CACHE_DIR = before
    return kernel


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel that other kernels call and that allocates arrays."""
    kernel: Callable[P, R] = numba.njit(nogil=True)(function)
    return kernel


def jit_no_alloc(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel that other kernels call in a loop and that allocates no arrays.

    It skips reference counts on its arguments, which the caller holds: they cost three quarters of the time.
    """
    try:
        kernel: Callable[P, R] = numba.njit(nogil=True, _nrt=False)(function)
    except KeyError:  # a numba release without the private option
        kernel = numba.njit(nogil=True)(function)
    return kernel


class _LiftLimits(event.Listener):  # type: ignore[misc]
    """Lift the limits of a parse while a kernel is compiled, which may take longer than any parse."""

    def on_start(self, event: event.Event) -> None:
        parse_limits.lift()

    def on_end(self, event: event.Event) -> None:
        parse_limits.restore()


event.register("numba:compile", _LiftLimits())


@jit_no_alloc
def as_int64(value: int) -> int:
    """Convert to a signed 64-bit integer. numba gives a literal such as 0 its own type and compiles for it again."""
    return int(np.int64(value))


@cache
def _source_hash(package: Path) -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(package.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
