"""Watch over the other processes of a run: all end soon after one is killed, stopped, hung or has failed.

Without it, the others would wait in an exchange until its timeout, for hours, and then not know for which process.

Each process has two threads. One talks to the store: every second it writes a sign of life, and reads if a process was
lost. On rank 0 it also judges the others by their signs. The other thread does not talk, so nothing blocks it: it
notices that the store does not answer, and ends this process if the training thread does not end by itself.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch.distributed as dist

from trainer.errors import TrainerError

BEAT_S = 1.0
SILENT_S = 60.0  # without a sign of life
SUSPECT_S = 4.0  # the same, after an exchange has failed
VERDICT_S = 20.0  # after an exchange has failed; torchrun kills 30 s after SIGTERM
STALLED_S = 90.0  # without an exchange while training; more if steps are longer
GRACE_S = 10.0  # for the training thread to end by itself
LONG_S = 7200.0  # without an exchange while one process works for all: saves, loads, the run page, first compilations
_DONE = "done"


class _Sign(NamedTuple):
    """Sign of life of a process."""

    number: int
    exchanges: int  # begun or ended; all processes take part in the same exchanges
    waiting: bool  # True within an exchange
    limit_s: float  # longest time without an exchange that this process expects

    def text(self) -> str:
        return f"{self.number} {self.exchanges} {int(self.waiting)} {self.limit_s}"

    @classmethod
    def parse(cls, text: str) -> "_Sign":
        number, exchanges, waiting, limit_s = text.split()
        return cls(int(number), int(exchanges), waiting == "1", float(limit_s))


class Lost(NamedTuple):
    """A process that was lost, as one process finds it and all read it."""

    rank: int
    reason: str


class PeerWatch:
    """Watch of one process; `store` is a connection of its own. Make it before, and start it after all have joined."""

    def __init__(self, store: dist.Store, rank: int, world: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.resume_point: Callable[[], str | None] = lambda: None  # name of the last checkpoint
        self._store, self._rank, self._world, self._clock = store, rank, world, clock
        self._exchanges, self._waiting, self._limit_s = 0, False, LONG_S
        self._own_failure = ""
        self._suspicious = self._ended = False  # an exchange failed; the training thread has ended
        self._found, self._closed, self._told = threading.Event(), threading.Event(), threading.Event()
        self._lost: Lost | None = None
        self._number = 0
        self._answered_s = self._moved_s = clock()
        self._signs: dict[int, tuple[str, float]] = {}  # last sign of each watched rank, and when it changed
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._talk, self._guard)]
        store.set(f"who/{rank}", f"{socket.gethostname()}, process {os.getpid()}")
        self._write_sign()

    # For the training thread.

    def start(self) -> None:
        """Begin to watch; all processes have written their first sign."""
        self._answered_s = self._moved_s = self._clock()
        for thread in self._threads:
            thread.start()

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Mark an exchange in which all processes take part."""
        self._exchanges, self._waiting = self._exchanges + 1, True
        try:
            yield
        finally:
            self._exchanges, self._waiting = self._exchanges + 1, False

    def expect_exchange(self, within_s: float | None) -> None:
        """Exchanges follow each other within about this time from now on; None: one process may work for hours."""
        self._limit_s = LONG_S if within_s is None else max(STALLED_S, 4 * within_s)

    def close(self) -> None:
        """End without alarm: the others may go on."""
        self._closed.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=2 * BEAT_S)

    def explain(self, error: BaseException) -> TrainerError | None:
        """Return the error to raise instead if `error` follows from the loss of another process, which this waits for.

        Otherwise tell the others that this process fails.
        """
        self._ended = True
        if getattr(error, "by_all", False):
            self.close()
            return None
        if not _is_failed_exchange(error):
            self._own_failure = f"failed: {_first_line(error)}"
            self._found.wait(GRACE_S)  # until the store has it
            return None
        self._suspicious = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, because of the same loss: first say which
        self._found.wait(VERDICT_S)
        if self._lost is None:
            return None
        self._told.set()
        return self._error(self._lost)

    def _error(self, lost: Lost) -> TrainerError:
        point = self.resume_point()
        after = f"continue from {point}" if point else "begin again: there is no checkpoint"
        error = TrainerError(f"rank {lost.rank} {lost.reason}; the same command will {after}")
        error.by_all = self._rank != (0 if lost.rank else 1)  # one process tells it
        return error

    # Threads.

    def _talk(self) -> None:
        while not self._closed.wait(BEAT_S):
            try:
                self._beat()
                self._answered_s = self._clock()
            except RuntimeError:  # the store is gone: `_guard` ends this process, unless it ends before
                return
        try:
            self._store.set(f"sign/{self._rank}", _DONE)
        except RuntimeError:
            return

    def _beat(self) -> None:
        self._write_sign()
        if self._own_failure:
            self._report(Lost(self._rank, f"({self._who(self._rank)}) {self._own_failure}"))
        if self._suspicious:
            self._store.set("suspicion", "1")
        if self._lost is None and self._store.check(["lost"]):
            rank, _, reason = self._store.get("lost").decode().partition(" ")
            self._lost = Lost(int(rank), reason)
            self._found.set()
        if self._lost is None:
            self._judge()

    def _write_sign(self) -> None:
        self._number += 1
        sign = _Sign(self._number, self._exchanges, self._waiting, self._limit_s)
        self._store.set(f"sign/{self._rank}", sign.text())

    def _judge(self) -> None:
        """Look for a process without signs of life, or behind the others. Rank 0 watches all, the others watch it."""
        now_s, watched = self._clock(), [*range(1, self._world)] if self._rank == 0 else [0]
        if now_s - self._answered_s > 10 * BEAT_S:  # this process itself was stopped
            self._signs, self._moved_s = {}, now_s
        texts = [text.decode() for text in self._store.multi_get([f"sign/{rank}" for rank in watched])]
        for rank, text in zip(watched, texts, strict=True):
            if self._signs.get(rank, ("",))[0] != text:
                if self._exchanges_of(rank) != _exchanges(text):
                    self._moved_s = now_s
                self._signs[rank] = text, now_s
        # Silence.
        limit_s = SUSPECT_S if self._store.check(["suspicion"]) else SILENT_S
        for rank, (text, changed_s) in self._signs.items():
            if text != _DONE and now_s - changed_s > limit_s:
                silent_s = round(now_s - changed_s)
                self._report(
                    Lost(rank, f"({self._who(rank)}) gave no sign of life for {silent_s} s: killed, stopped or cut off")
                )
                return
        if self._rank == 0:
            self._judge_progress(now_s)

    def _judge_progress(self, now_s: float) -> None:
        """Report the process that does not come to the exchange in which the others wait."""
        own = _Sign(self._number, self._exchanges, self._waiting, self._limit_s)
        signs = {0: own} | {rank: _Sign.parse(text) for rank, (text, _) in self._signs.items() if text != _DONE}
        stalled_s = now_s - self._moved_s
        if stalled_s > max(sign.limit_s for sign in signs.values()):
            # Of those that exchanged least, one that waits for nobody.
            rank = min(signs, key=lambda rank: (signs[rank].exchanges, signs[rank].waiting, rank))
            self._report(Lost(rank, f"({self._who(rank)}) has kept the others waiting for {round(stalled_s)} s"))

    def _exchanges_of(self, rank: int) -> int | None:
        return _exchanges(self._signs[rank][0]) if rank in self._signs else None

    def _report(self, lost: Lost) -> None:
        """Tell all processes; the first report stays."""
        self._store.compare_set("lost", "", f"{lost.rank} {lost.reason}")

    def _who(self, rank: int) -> str:
        return self._store.get(f"who/{rank}").decode()

    def _guard(self) -> None:
        """End this process if a process is lost, or if the store does not answer, and the training thread hangs."""
        checked_s = self._clock()
        while not self._found.wait(BEAT_S):
            now_s = self._clock()
            if self._closed.is_set():
                return
            if now_s - checked_s > 10 * BEAT_S:  # this process itself was stopped
                self._answered_s = now_s
            checked_s = now_s
            if now_s - self._answered_s > (SUSPECT_S if self._suspicious else SILENT_S):
                reason = "(or torchrun, which keeps the store) does not answer: killed, stopped or cut off"
                self._lost = Lost(0, reason)
                self._found.set()
        if self._closed.wait(GRACE_S):
            return
        # The training thread is in an exchange that no exception reaches, or waits at its end for such a thread.
        threading.Timer(GRACE_S, os._exit, [1]).start()  # the disk that holds the checkpoints may not answer either
        if not self._told.is_set() and self._lost is not None and not self._own_failure:
            error = self._error(self._lost)
            if not error.by_all:
                print(f"trainer: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def _exchanges(text: str) -> int | None:
    return None if text == _DONE else _Sign.parse(text).exchanges


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _is_failed_exchange(error: BaseException | None) -> bool:
    """Return True if an error, or one that led to it, comes from gloo, nccl or the store."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower()):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False
