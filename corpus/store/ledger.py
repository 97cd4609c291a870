"""The ledger: the outcome of every record read, counted in records and in bytes.

`read = kept + dropped(rule) + skipped(reason) + merged(into) + failed(reason)`, for each task, job and source.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, Self

from pydantic import Field

from corpus.document import OUTCOMES
from corpus.settings import Json


class LedgerEntry(NamedTuple):
    """Records of one source with the same outcome and reason (`kept` has the reason "", or the name of a split)."""

    source: str
    outcome: Annotated[str, Field(pattern=f"^({'|'.join(OUTCOMES)})$")]
    reason: str
    records: int
    input_bytes: int  # of the input file
    text_bytes: int  # UTF-8 bytes of the extracted text; 0 if there is none


class FileLoss(NamedTuple):
    """An input file of which bytes could not be read."""

    file: str
    input_bytes: int
    lost_bytes: int
    reasons: tuple[str, ...]  # the one that cost most first


@dataclass
class Ledger:
    """Counts by source, outcome and reason. Its JSON is sorted, so it does not depend on the order of counting."""

    _counts: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)  # in the order of LedgerEntry

    def add(
        self, source: str, outcome: str, reason: str, *, records: int = 1, input_bytes: int = 0, text_bytes: int = 0
    ) -> None:
        """Add `records` to an outcome."""
        assert outcome in OUTCOMES, outcome
        counts = self._counts.setdefault((source, outcome, reason), [0, 0, 0])
        counts[0] += records
        counts[1] += input_bytes
        counts[2] += text_bytes

    def entries(self) -> list[LedgerEntry]:
        """Return all entries, sorted by source, outcome and reason."""
        return [LedgerEntry(*key, *counts) for key, counts in sorted(self._counts.items())]

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
                ledger.add(**row)  # type: ignore[arg-type]
        return ledger
