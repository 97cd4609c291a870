"""Signals to a run: save a checkpoint and go on, or save and stop.

The handlers only note the request, because they may interrupt a print or a save; the loop acts on it. What the run
will do is said by a thread, which Python's runtime wakes even while the training thread is in a long call.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from trainer.config import CheckpointSettings

SAVE, STOP = "save", "stop"


class RunSignals:
    """Requests that this process received. Not under nohup: there, a closed terminal is ignored.

    with RunSignals(settings, say) as signals:
        signals.doing = "step 12"
        if signals.stop: ...
    """

    def __init__(self, settings: CheckpointSettings, say: Callable[[str], None]) -> None:
        self.stop: int | None = None  # the signal that asked to stop
        self.save = False
        self.doing = ""  # the work that ends before a request is met
        self._say = say
        self._actions = {signal.SIGTERM: STOP, signal.SIGINT: STOP}
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            self._actions[signal.SIGHUP] = STOP
        self._actions |= {signal.SIGUSR1: settings.sigusr1, signal.SIGUSR2: settings.sigusr2}

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._previous_writer = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._handle) for number in self._actions}
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_writer)
        os.close(self._writer)
        self._thread.join()
        os.close(self._reader)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self._actions[signal.Signals(number)] == SAVE:
            self.save = True
            return
        if self.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stop = number

    def _tell(self) -> None:
        """Say what the first signal of each kind will do."""
        told: set[str] = set()
        while numbers := os.read(self._reader, 64):
            for number in numbers:
                action = self._actions.get(signal.Signals(number))
                if action is None or (action == STOP and STOP in told):
                    continue
                told.add(action)
                name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
                then = "save a checkpoint and stop" if action == STOP else "save a checkpoint and go on"
                again = "; press Ctrl-C again to stop at once" if number == signal.SIGINT else ""
                self._say(f"{name}: will {then} after {self.doing}{again}")
