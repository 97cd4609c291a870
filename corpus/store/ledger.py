"""The ledger: what became of every record read, in records and in input bytes.

`read = kept + dropped(rule) + skipped(reason) + merged(into) + failed(reason)`, for each task, job and source.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from corpus.document import OUTCOMES
from corpus.settings import Json


class Entry(NamedTuple):
    """Records of one source that met one fate for one reason (`kept` has the reason "", or a split's name)."""

    source: str
    outcome: str
    reason: str
    records: int
    input_bytes: int  # as they lie in the file, booked to the record's outcome
    text_bytes: int  # UTF-8 bytes of the text that came out of them; 0 where there is none


@dataclass
class Ledger:
    """Counts entries; its JSON is sorted, so it does not depend on the order of counting."""

    _records: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _input: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _text: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(
        self, source: str, outcome: str, reason: str, *, records: int = 1, input_bytes: int = 0, text_bytes: int = 0
    ) -> None:
        """Books `records` to an outcome."""
        assert outcome in OUTCOMES, outcome
        key = (source, outcome, reason)
        self._records[key] += records
        self._input[key] += input_bytes
        self._text[key] += text_bytes

    def entries(self) -> list[Entry]:
        """All entries, sorted by source, outcome and reason."""
        return [Entry(*key, self._records[key], self._input[key], self._text[key]) for key in sorted(self._records)]

    def total(self, field_name: str, source: str | None = None, outcome: str | None = None) -> int:
        """The sum of one column over the entries of a source and an outcome (None: all)."""
        return sum(
            getattr(entry, field_name)
            for entry in self.entries()
            if source in (None, entry.source) and outcome in (None, entry.outcome)
        )

    def json(self) -> list[Json]:
        """The entries as JSON objects."""
        return [dict(entry._asdict()) for entry in self.entries()]

    @classmethod
    def of(cls, parts: Iterable[Sequence[Json]]) -> Self:
        """The sum of ledgers read back from JSON."""
        ledger = cls()
        for part in parts:
            for row in part:
                assert isinstance(row, dict)
                entry = Entry(**row)  # type: ignore[arg-type]
                ledger.add(
                    entry.source,
                    entry.outcome,
                    entry.reason,
                    records=entry.records,
                    input_bytes=entry.input_bytes,
                    text_bytes=entry.text_bytes,
                )
        return ledger
