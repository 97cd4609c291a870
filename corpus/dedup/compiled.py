"""How this package compiles its kernels: to machine code on first use, kept on disk for the next process."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function in numba's no-Python mode. Integers only: the result is the same on every machine.

    numba sees a change in the function's own file, not in a kernel or constant that it takes from another: so the
    machine code lies in a folder named after all sources of this package. Where none is writable it stays in memory.
    """
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(Path(before or Path(__file__).parent / "__pycache__") / f"dedup-{_sources()}")
    try:
        kernel: Callable[P, R] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no folder that it may write to
        kernel = numba.njit(nogil=True)(function)
    finally:
        numba.config.CACHE_DIR = before
    return kernel


@cache
def _sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
