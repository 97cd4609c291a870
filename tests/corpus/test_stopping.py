"""Stop signals raise once however often they are sent, wait for blocks that must not break, and leave no trace."""

import signal
import time

import pytest

from corpus import stopping
from corpus.errors import StoppedError
from corpus.stopping import stop_delayed, stop_signals, stoppable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_repeated_signals_do_not_break_the_clean_up(number: int) -> None:
    cleaned = False
    with pytest.raises(StoppedError, match="stopped; finished work is kept"), stoppable():
        try:
            signal.raise_signal(number)
        finally:
            for again in (signal.SIGINT, signal.SIGTERM):
                signal.raise_signal(again)
            cleaned = True
    assert cleaned


def test_signal_that_comes_later_raises_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first may have been lost, as in a destructor."""
    with stop_signals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        monkeypatch.setattr(stopping, "REPEAT_S", 0.0)
        time.sleep(0.01)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_delayed_signal_raises_at_the_end_of_the_block() -> None:
    done = []
    with stop_signals():
        with pytest.raises(KeyboardInterrupt), stop_delayed():
            with stop_delayed():
                signal.raise_signal(signal.SIGINT)
                done.append("inner")
            done.append("outer")
        assert done == ["inner", "outer"]
        with stop_delayed():
            pass


def test_handlers_are_restored_and_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_signals():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    with stoppable(), stop_signals():
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
