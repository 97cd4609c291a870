"""Documents to look at: for each fate those of the smallest ids, which is a hash and so picks without favour."""

from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.inspect.report.summary_types import UNKNOWN_LANGUAGE, Example
from corpus.quality.rule import Rule
from corpus.store.parquet_tables import row_of

EXCERPT_CHARACTERS = 280
KEPT_EXAMPLES = 3
DROPPED_EXAMPLES = 2  # of a rule

Found = tuple[str, Path, int]  # id, shard, row


def kept_examples(shards: Sequence[Path]) -> tuple[Example, ...]:
    """A few documents that every rule let through."""
    found: list[Found] = []
    for path in shards:
        ids = pq.read_table(path, columns=["id"])["id"].to_pylist()
        found = _smallest(KEPT_EXAMPLES, [*found, *((identity, path, row) for row, identity in enumerate(ids))])
    return tuple(example_of(each, None, "") for each in found)


def dropped_examples(shards: Sequence[Path], rules: Mapping[str, Rule]) -> dict[str, tuple[Example, ...]]:
    """A few documents for each reason that dropped any."""
    found: dict[str, list[Found]] = {}
    for path in shards:
        table = pq.read_table(path, columns=["id", "rule"])
        for reason in pc.unique(table["rule"]).to_pylist():
            rows = pc.indices_nonzero(pc.equal(table["rule"], reason)).to_pylist()
            here = ((table["id"][row].as_py(), path, row) for row in rows)
            found[reason] = _smallest(DROPPED_EXAMPLES, [*found.get(reason, []), *here])
    return {
        reason: tuple(example_of(each, rules.get(reason), reason) for each in chosen)
        for reason, chosen in sorted(found.items())
    }


def _smallest(count: int, found: Iterable[Found]) -> list[Found]:
    """Those of the smallest ids; of a document that stands there more than once, the first."""
    first: dict[str, Found] = {}
    for each in found:
        first.setdefault(each[0], each)
    return nsmallest(count, first.values())


def example_of(found: Found, rule: Rule | None, reason: str) -> Example:
    identity, path, number = found
    row = row_of(path, number)
    value = None
    if rule and rule.signal in row and (rule.per is None or rule.per in row):
        value = rule.value({name: row[name] for name in (rule.signal, rule.per) if name})  # type: ignore[misc]
    return Example(
        id=identity,
        reason=reason,
        value=None if value is None else float(f"{value:.6g}"),
        url=None if row["url"] is None else str(row["url"]),
        origin=f"{row['origin_file']}@{row['origin_start']}",
        language=str(row["language"] or UNKNOWN_LANGUAGE),
        excerpt=None if row["text"] is None else excerpt(str(row["text"])),
    )


def excerpt(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text[: 4 * EXCERPT_CHARACTERS].split())
    shortened = len(line) > EXCERPT_CHARACTERS or len(text) > 4 * EXCERPT_CHARACTERS
    return line[:EXCERPT_CHARACTERS].rstrip() + ("…" if shortened else "")
