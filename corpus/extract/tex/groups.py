"""Braces: what is to be done where a group ends."""

from collections.abc import Callable

from corpus.extract.tex.tokens import Tokens
from corpus.extract.tex.writer import Writer


class Groups:
    """The groups that are open. An argument that is text is read in place, as a group of which the end is told."""

    def __init__(self, tokens: Tokens, writer: Writer) -> None:
        self._tokens, self._writer = tokens, writer
        self._ends: list[Callable[[], None] | None] = []

    def begin(self) -> None:
        """A group that means nothing."""
        self._ends.append(None)

    def end(self) -> None:
        """The innermost group ends."""
        if self._ends and (end := self._ends.pop()) is not None:
            end()

    def argument(self, end: Callable[[], None]) -> None:
        """The argument that comes next is read in place; `end` is called behind it."""
        self._tokens.skip_space()
        if (token := self._tokens.unit()) != "{":
            self._tokens.push([token, "}"] if token and token != "}" else ["}"])
        self._ends.append(end)

    def captured(self, use: Callable[[str], None]) -> None:
        """The argument that comes next is written aside; `use` gets it."""
        depth = self._writer.open()
        self.argument(lambda: use(self._writer.close(depth)))

    def finish(self) -> None:
        """The groups that were never closed end with the text."""
        while self._ends:
            self.end()
