"""A worker process of the local pool: it runs the tasks that arrive on its pipe, until it is killed.

It imports the standard library alone, so that an error of any other import is reported through the pipe.
"""

import ctypes
import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from typing import NamedTuple

PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h


class Report(NamedTuple):
    """Message of a worker: it has ended a task, with the error if that failed. The first message has no rank."""

    rank: int | None
    error: str | None = None


def main() -> None:
    """Run tasks from the pipe of the first argument for the parent process of the second."""
    pipe, parent = Connection(int(sys.argv[1])), int(sys.argv[2])
    os.set_inheritable(pipe.fileno(), False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of the terminal; the parent stops us
    _die_with(parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the parent blocked them until here
    try:
        pipe.send(Report(None))
        while True:
            rank, step = pipe.recv()
            pipe.send(Report(rank, _error(step, rank)))
    except (EOFError, OSError):  # the parent is gone
        return


def _error(step: bytes, rank: int) -> str | None:
    """Run a task with a pickled datatrove step; return the error, or None if it succeeded."""
    try:
        pickle.loads(step)(None, rank, 0)  # from our parent
    except Exception as error:
        return str(error) or type(error).__name__
    return None


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends, however that ends."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()
