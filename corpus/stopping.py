"""Ctrl-C, SIGTERM and SIGHUP (a closed terminal) stop a run once, also if sent twice or to all of its processes."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from corpus.errors import StoppedError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REPEAT_S = 2.0  # a signal this soon after another repeats it: `timeout` sends two, users press Ctrl-C twice


class _State:
    """Signals of this process that wait, and the time of the last that was obeyed."""

    stopped_at_s = float("-inf")
    delays = 0  # depth of `stop_delayed`
    waiting = False


def _stop(number: int, frame: FrameType | None) -> None:
    if time.monotonic() - _State.stopped_at_s < REPEAT_S:
        return  # the first is at work: a second KeyboardInterrupt would break its clean-up
    if _State.delays:
        _State.waiting = True
        return
    _State.stopped_at_s = time.monotonic()
    raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within this context stop signals raise KeyboardInterrupt, once for all that arrive within REPEAT_S."""
    # a shell starts background processes with SIGINT ignored; that stays
    numbers = [number for number in SIGNALS if _in_main_thread() and signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _stop) for number in numbers}
    if _stop not in before.values():  # not inside another such context
        _State.stopped_at_s = float("-inf")
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stoppable() -> Iterator[None]:
    """Within this context Ctrl-C, SIGTERM and SIGHUP stop a build. Raises StoppedError."""
    if not _in_main_thread():
        yield
        return
    try:
        with stop_signals():
            yield
    except KeyboardInterrupt as stopped:
        message = "; ".join(["stopped", *map(str, stopped.args)])
        raise StoppedError(f"{message}; finished work is kept: build again to resume") from None


@contextmanager
def stop_delayed() -> Iterator[None]:
    """Delay the effect of stop signals until the end of the block. Processes started in it begin with them blocked."""
    if not _in_main_thread():
        yield
        return
    _State.delays += 1
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # for new processes: other threads of ours may get them
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _State.delays -= 1
        if _State.waiting and not _State.delays:
            _State.waiting = False
            _State.stopped_at_s = time.monotonic()
            raise KeyboardInterrupt
