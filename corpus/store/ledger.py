"""The ledger: the outcome of every record read, counted in records and in bytes.

`read = kept + dropped(rule) + skipped(reason) + merged(into) + failed(reason)`, for each task, job and source.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from corpus.document import OUTCOMES
from corpus.settings import Json


class LedgerEntry(NamedTuple):
    """Records of one source with the same outcome and reason (`kept` has the reason "", or the name of a split)."""

    source: str
    outcome: str
    reason: str
    records: int
    input_bytes: int  # of the input file
    text_bytes: int  # UTF-8 bytes of the extracted text; 0 if there is none


@dataclass
class Ledger:
    """Counts by source, outcome and reason. Its JSON is sorted, so it does not depend on the order of counting."""

    _records: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _input: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _text: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(
        self, source: str, outcome: str, reason: str, *, records: int = 1, input_bytes: int = 0, text_bytes: int = 0
    ) -> None:
        """Add `records` to an outcome."""
        assert outcome in OUTCOMES, outcome
        key = (source, outcome, reason)
        self._records[key] += records
        self._input[key] += input_bytes
        self._text[key] += text_bytes

    def entries(self) -> list[LedgerEntry]:
        """Return all entries, sorted by source, outcome and reason."""
        return [
            LedgerEntry(*key, self._records[key], self._input[key], self._text[key]) for key in sorted(self._records)
        ]

    def total(self, field_name: str, source: str | None = None, outcome: str | None = None) -> int:
        """Return the sum of one column over the entries of a source and an outcome (None: all)."""
        return sum(
            getattr(entry, field_name)
            for entry in self.entries()
            if source in (None, entry.source) and outcome in (None, entry.outcome)
        )

    def json(self) -> list[Json]:
        """Return the entries as JSON objects."""
        return [dict(entry._asdict()) for entry in self.entries()]

    @classmethod
    def of(cls, parts: Iterable[Sequence[Json]]) -> Self:
        """Return the sum of ledgers read back from JSON."""
        ledger = cls()
        for part in parts:
            for row in part:
                assert isinstance(row, dict)
                entry = LedgerEntry(**row)  # type: ignore[arg-type]
                ledger.add(
                    entry.source,
                    entry.outcome,
                    entry.reason,
                    records=entry.records,
                    input_bytes=entry.input_bytes,
                    text_bytes=entry.text_bytes,
                )
        return ledger
