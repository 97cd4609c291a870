"""A user's own filters and formatters, correct and faulty, for recipes in tests."""

from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.formatters.base import BaseFormatter
from numpy.random import default_rng


class Loud(BaseFormatter):
    def format(self, text: str) -> str:
        return text.upper()


class Spoils(BaseFormatter):
    def format(self, text: str) -> None:
        return None


class LinesAtMost(BaseFilter):
    """Judges batches only; its reasons are not names, and there are as many as documents."""

    def __init__(self, lines: int) -> None:
        super().__init__(batch_size=4)
        self.lines = lines

    def filter(self, doc: Document) -> bool:
        raise AssertionError("filter_batch should be called instead")

    def filter_batch(self, batch: list[Document]) -> list[tuple[bool, str]]:
        counts = [len(doc.text.splitlines()) for doc in batch]
        return [(count <= self.lines, f"<b>{count} Lines!</b>") for count in counts]


class Unseen(BaseFilter):
    """Drops texts that it saw before."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def filter(self, doc: Document) -> bool:
        known = doc.text in self.seen
        self.seen.add(doc.text)
        return not known


class Fragile(BaseFilter):
    def __init__(self, word: str, machine: bool = False) -> None:
        super().__init__()
        self.word, self.error = word, ConnectionResetError if machine else ZeroDivisionError

    def filter(self, doc: Document) -> bool:
        if self.word in doc.text:
            raise self.error("oh")
        return True


class Reports(BaseFilter):
    """Drops each document, with its id and the names of its metadata as the reason."""

    def filter(self, doc: Document) -> tuple[bool, str]:
        reason = " ".join([doc.id[:4], *sorted(doc.metadata)])
        doc.metadata["language"] = "xx"
        return False, reason


class Stream(BaseFilter):
    def filter(self, doc: Document) -> bool:
        return True

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        yield from data


class Draws(BaseFilter):
    """Draws at random without a seed."""

    def __init__(self) -> None:
        super().__init__()
        self.draw = default_rng(1).random

    def filter(self, doc: Document) -> bool:
        return self.draw() < 0.5


class Takes(BaseFilter):
    def __init__(self, pair: tuple[str, ...], many: list[str], either: tuple[str, str] | list[str]) -> None:
        super().__init__()
        self.kinds = [type(value).__name__ for value in (pair, many, either)]

    def filter(self, doc: Document) -> bool:
        return True


not_a_class = 3
