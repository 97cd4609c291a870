"""Another attempt, and when: exponential backoff with full jitter, or what the server says.

Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

import random
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from corpus.display.terminal import printable
from corpus.fetch.answer import TransientError, UnreachableError

ATTEMPTS = 6  # without any progress
ATTEMPTS_IN_ALL = 100
BACKOFF_S = 1.0  # at most, before the second attempt; doubled before each further one
LONGEST_BACKOFF_S = 60.0
TOLD_AFTER = 2  # failures in a row
T = TypeVar("T")
_told: set[str] = set()  # hosts


def tried(what: str, attempt: Callable[[], T], reached: Callable[[], int] = lambda: 0) -> T:
    """The result of the first attempt that succeeds; attempts that got farther than any before are not held against it.

    Raises UnreachableError when there were too many.
    """
    best, failures, total = reached(), 0, 0
    while True:
        try:
            return attempt()
        except TransientError as error:
            total += 1
            failures = 1 if reached() > best else failures + 1
            best = max(best, reached())
            if failures >= ATTEMPTS or total >= ATTEMPTS_IN_ALL:
                raise UnreachableError(
                    f"{what}: could not be had in {total} attempts: {str(error)[:300]}. Is there a network, and does "
                    "it reach this host? What has come is kept where it can be gone on from: build again"
                ) from None
            if failures >= TOLD_AFTER:
                _tell(what, error)
            wait = random.uniform(0, min(BACKOFF_S * 2 ** (failures - 1), LONGEST_BACKOFF_S))
            if error.wait is not None:
                wait += error.wait
            if error.host is not None:
                error.host.cool(wait)
            time.sleep(wait)


def _tell(what: str, error: Exception) -> None:
    """Says why it takes long, once a host."""
    host = what.partition("://")[2].partition("/")[0]
    if host not in _told:
        _told.add(host)
        print(f"corpus: {printable(what)}: {printable(str(error))[:300]}; trying again", file=sys.stderr, flush=True)
