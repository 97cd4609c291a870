"""When a server that answers has to be given up: it sends nothing, or next to nothing."""

from corpus.fetch.answer import TransientError

STALL_S = 30.0  # without a byte
SLOWEST = 100  # bytes a second, over STALL_S: less is a stall as well


class Pace:
    """How fast a body comes; a trickle counts as a stall."""

    def __init__(self) -> None:
        self._waited, self._came = 0.0, 0

    def note(self, waited_s: float, count: int) -> None:
        """Hears of every wait, and of the bytes that it brought. Raises TransientError."""
        self._waited += waited_s
        self._came += count
        if self._waited > STALL_S:
            if self._came < SLOWEST * STALL_S:
                raise TransientError(f"just {self._came} bytes came in {self._waited:.0f} s")
            self._waited, self._came = 0.0, 0
